"""Forms of the menu's admin pages."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from menu import services
from menu.models import Item, Kind, Shop
from waimai.infra.admin_base import ActionForm, FileWidget, NumberWidget, TextWidget
from waimai.infra.errors import DomainError

UNREADABLE = object()
MOST_PORTIONS = 1_000_000


class NameOnce(forms.ModelForm[Any]):
    """A form of something whose name is unique in what it belongs to.

    Django checks that only while the owner is a field of the form, and on the page of a thing that stands it isn't.
    Where it checks, it says so above the form; here it stands beside the name.
    """

    owner = "shop"
    taken = gettext_lazy("这家店已有同名的。")

    def clean(self) -> dict[str, Any]:
        """Nobody else's name."""
        data = super().clean() or self.cleaned_data
        owner = data.get(self.owner) or (getattr(self.instance, self.owner) if self.instance.pk else None)
        if owner and "name" in data:
            same = type(self.instance)._default_manager.filter(**{self.owner: owner, "name": data["name"]})
            if same.exclude(pk=self.instance.pk).exists():
                self.add_error("name", str(self.taken))
        return data


class ShopForm(forms.ModelForm[Shop]):
    """A shop; its time zone must be one that exists, its place one on earth."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who may only look has no fields.
        for name, most in (("latitude", 90), ("longitude", 180)):
            if name in self.fields:
                self.fields[name].validators += [MinValueValidator(-most), MaxValueValidator(most)]

    def clean(self) -> dict[str, Any]:
        """Half a place is none."""
        data = super().clean() or self.cleaned_data
        missing = [name for name in ("latitude", "longitude") if data.get(name, UNREADABLE) is None]
        if len(missing) == 1:
            self.add_error(missing[0], _("经度和纬度必须同时提供"))
        return data

    def clean_time_zone(self) -> str:
        """An IANA name."""
        name: str = self.cleaned_data["time_zone"]
        if name not in available_timezones():
            raise forms.ValidationError(_("没有这个时区。"))
        return name


class CategoryForm(NameOnce):
    """A category; its kind stays what its items are."""

    def clean_kind(self) -> str:
        """Dishes don't turn into set meals."""
        kind: str = self.cleaned_data["kind"]
        if self.instance.pk and self.instance.items.exclude(kind=kind).exists():
            raise forms.ValidationError(_("分类下已有商品，不能更改类型。"))
        return kind


class ItemForm(NameOnce):
    """A dish or a set meal, with an upload for its picture and the number of its portions."""

    picture = forms.FileField(
        label=gettext_lazy("上传图片"),
        required=False,
        widget=FileWidget,
        help_text=gettext_lazy("JPEG、PNG 或 WebP，不超过 5 MB。"),
    )
    # The value that was shown comes back with the form: portions sold meanwhile are no change made by this person.
    portions = forms.IntegerField(
        label=gettext_lazy("可售份数"),
        required=False,
        min_value=0,
        max_value=MOST_PORTIONS,
        widget=NumberWidget,
        show_hidden_initial=True,
        help_text=gettext_lazy("留空表示不限。"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn: bytes | None = None
        if self.instance.pk and (stock := services.stock_of([self.instance.pk]).get(self.instance.pk)):
            self.initial["portions"] = stock.available

    def clean_picture(self) -> Any:
        """Draw the picture anew already here, so that a refusal stands beside its field."""
        upload = self.cleaned_data["picture"]
        if upload:
            try:
                self.drawn = services.redraw_picture(upload)
            except DomainError as error:
                raise forms.ValidationError(str(error.detail)) from error
        return upload

    def clean(self) -> dict[str, Any]:
        """The category belongs to the shop and holds things of this kind."""
        data = super().clean()
        category, shop = data.get("category"), data.get("shop") or getattr(self.instance, "shop", None)
        if category and shop and category.shop_id != shop.pk:
            self.add_error("category", _("分类不属于这家店。"))
        if category and data.get("kind", self.instance.kind) != category.kind:
            self.add_error("category", _("分类的类型与商品不符。"))
        return data

    def save(self, commit: bool = True) -> Item:
        """Store the picture along."""
        if self.drawn is not None:
            self.instance.image = services.keep_picture(self.drawn)
        saved: Item = super().save(commit=commit)
        return saved


class ComponentFormSet(forms.BaseInlineFormSet[Any, Item, Any]):
    """The dishes of a set meal."""

    def clean(self) -> None:
        """A set meal is made of dishes of its shop, and none on sale has a stopped one; a dish has no parts."""
        super().clean()
        rows = [form.cleaned_data for form in self.forms if getattr(form, "cleaned_data", None)]
        dishes = [row["dish"] for row in rows if row.get("dish") and not row.get("DELETE")]
        meal = self.instance
        if meal.kind == Kind.DISH:
            if dishes:
                raise forms.ValidationError(_("只有套餐才由菜品组成。"))
            return
        if any(dish.kind != Kind.DISH or dish.shop_id != meal.shop_id for dish in dishes):
            raise forms.ValidationError(_("套餐只能由本店的菜品组成。"))
        if meal.on_sale and (problem := services.why_not_startable(meal, dishes)):
            raise forms.ValidationError(problem)


class OptionFormSet(forms.BaseInlineFormSet[Any, Any, Any]):
    """The options of a group."""

    def clean(self) -> None:
        """Enough of them for the group's minimum: nobody could order the item otherwise."""
        super().clean()
        rows = [form.cleaned_data for form in self.forms if getattr(form, "cleaned_data", None)]
        if sum(1 for row in rows if not row.get("DELETE")) < self.instance.min:
            raise forms.ValidationError(_("选项少于最少选择的数量。"))


class LimitsForm(forms.ModelForm[Any]):
    """How many of a choice's options one may take."""

    def clean(self) -> dict[str, Any]:
        """In words, what the database's constraint says by its name."""
        data = super().clean() or self.cleaned_data
        if {"min", "max"} <= data.keys() and data["min"] > data["max"]:
            self.add_error("max", _("不能少于最少选择的数量。"))
        return data


class OptionGroupForm(NameOnce, LimitsForm):
    """A choice that comes with an item."""

    owner = "item"
    taken = gettext_lazy("这个商品已有同名的。")


class SoldOutForm(forms.Form):
    """When what is sold out comes back, and with how many."""

    portions = forms.IntegerField(required=False, min_value=0, max_value=MOST_PORTIONS)
    back_at = forms.TimeField(required=False)

    def sell_out(self, item: Item) -> None:
        """Until the shop's clock shows that time, or the next day that it opens. Raises what the service raises."""
        shop, data = services.get_shop(item.shop_id), self.cleaned_data
        until = services.clock_ahead(shop, data["back_at"], now=timezone.now())
        services.sell_out(item_id=item.pk, until=until, portions=data["portions"])


class StockActionForm(ActionForm):
    """The action bar above the list of items. The actions read what was typed: Django would say "no action" of it."""

    portions = forms.CharField(label=gettext_lazy("份数"), required=False, widget=NumberWidget)
    back_at = forms.CharField(
        label=gettext_lazy("恢复时间（售罄时，留空为次日）"),
        required=False,
        widget=TextWidget(attrs={"type": "time"}),
    )
