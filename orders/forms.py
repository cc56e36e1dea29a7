"""Forms of the order pages. They check shapes; what is right is decided, and refused, by the services."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

import payments.services
from menu.services import LineRequest
from orders.cart import MOST_LINES
from waimai.infra.forms import ServiceForm

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

HIGHEST_ID = 2**53 - 1
MADE_WITH_THE_PAGE = r"^[A-Za-z0-9_-]{16,48}$"
Choices = Sequence[tuple[int, str]]
LONGEST_NOTE = 200
LONGEST_REASON = 200
MOST_TABLEWARE = 99
WRITTEN = re.compile(r"[0-9]{1,16}\.[0-9]{1,2}(\.[0-9]{1,16}){0,50}", re.ASCII)


class _OfEveryGroup(forms.MultipleHiddenInput):
    """Each group of radio buttons needs a name of its own: `option_1`, `option_2`."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        """What was chosen in all of them."""
        return [value for key in data if key == name or key.startswith(f"{name}_") for value in data.getlist(key)]


class _Numbers(forms.Field):
    """Any number of ids; an empty choice ("none of these") counts for nothing."""

    widget = _OfEveryGroup

    def to_python(self, value: Any) -> list[int]:
        """Ids, or a validation error for what isn't one."""
        number = forms.IntegerField(min_value=1, max_value=HIGHEST_ID)
        return [number.clean(one) for one in value or [] if one != ""]


class AddForm(forms.Form):
    """So many of an item with these options."""

    item = forms.IntegerField(min_value=1, max_value=HIGHEST_ID)
    quantity = forms.IntegerField(label=_("数量"), min_value=1, max_value=99)
    option = _Numbers(required=False)

    def line(self) -> LineRequest:
        """The valid form as the services take it."""
        data = self.cleaned_data
        return LineRequest(item_id=data["item"], quantity=data["quantity"], option_ids=tuple(data["option"]))


class QuantityForm(forms.Form):
    """How many it shall be; 0 takes the line out. `back` is the item on the menu where it was pressed."""

    quantity = forms.IntegerField(label=_("数量"), min_value=0, max_value=99)
    back = forms.IntegerField(required=False, min_value=1, max_value=HIGHEST_ID)


def written(line: LineRequest) -> str:
    """A line as a form can carry it."""
    return ".".join(map(str, (line.item_id, line.quantity, *line.option_ids)))


class _Written(forms.Field):
    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[LineRequest]:
        """Lines, or a validation error for what `written` doesn't write."""
        if not value or len(value) > MOST_LINES or not all(WRITTEN.fullmatch(text) for text in value):
            raise forms.ValidationError(gettext("请检查数量和规格"))
        numbers = [[int(part) for part in text.split(".")] for text in value]
        return [LineRequest(item, quantity, tuple(options)) for item, quantity, *options in numbers]


class RestoreForm(forms.Form):
    """Lines that were taken out and shall be there again."""

    line = _Written()

    def lines(self) -> list[LineRequest]:
        """The valid form as the services take it."""
        return cast("list[LineRequest]", self.cleaned_data["line"])


def _clock(at: datetime) -> str:
    """A time as it is chosen, by its own clock; another day's says so."""
    clock = f"{at:%H:%M}"
    days = (at.date() - timezone.now().astimezone(at.tzinfo).date()).days
    if days == 0:
        return clock
    return gettext("明天 %(time)s") % {"time": clock} if days == 1 else f"{at:%m-%d} {clock}"


class CheckoutForm(forms.Form):
    """Where to, when, and what was shown."""

    address = forms.TypedChoiceField(label=_("收货地址"), coerce=int, widget=forms.RadioSelect)
    deliver_at = forms.TypedChoiceField(
        label=_("送达时间"), coerce=datetime.fromisoformat, empty_value=None, required=False
    )
    note = forms.CharField(
        label=_("备注"),
        max_length=LONGEST_NOTE,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": _("口味、忌口等要求")}),
    )
    tableware = forms.IntegerField(label=_("餐具份数"), min_value=0, max_value=MOST_TABLEWARE, initial=1)
    shown_total = forms.DecimalField(max_digits=10, decimal_places=2)
    cart_version = forms.IntegerField(min_value=0)

    def __init__(self, *args: Any, addresses: Choices, times: Iterable[datetime], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        address = self.fields["address"]
        address.choices = addresses  # type: ignore[attr-defined]
        address.error_messages["required"] = _("请选择收货地址。") if addresses else _("请先新增地址。")
        later = [(at.isoformat(), _clock(at)) for at in times]
        self.fields["deliver_at"].choices = [("", _("尽快送达")), *later]  # type: ignore[attr-defined]


def _short(
    label: StrOrPromise, length: int, autocomplete: str, *, placeholder: StrOrPromise = "", **kwargs: Any
) -> forms.CharField:
    hint = {"placeholder": placeholder} if placeholder else {}
    widget = forms.TextInput(attrs={"autocomplete": autocomplete} | hint)
    return forms.CharField(label=label, max_length=length, widget=widget, **kwargs)


def _degrees(label: StrOrPromise, most: int, why: StrOrPromise) -> forms.FloatField:
    widget = forms.NumberInput(attrs={"step": "0.000001"})
    return forms.FloatField(label=label, required=False, min_value=-most, max_value=most, widget=widget, help_text=why)


class PlaceForm(ServiceForm):
    """A place that is being typed; degrees."""

    latitude = _degrees(_("纬度"), 90, _("店铺按坐标判断地址是否在配送范围内；不填的话，部分商家无法确认能否送到"))
    longitude = _degrees(_("经度"), 180, _("和纬度一起填写"))


class NewAddressForm(PlaceForm):
    """An address entered at the checkout. The token was made with the page, so a double tap keeps one address.

    It is part of a larger form that is mostly sent without it: no browser may insist on its fields.
    """

    use_required_attribute = False
    field_order = ("contact_name", "phone", "region", "detail", "label", "latitude", "longitude", "token")

    contact_name = _short(_("联系人"), 32, "name")
    phone = _short(_("联系电话"), 20, "tel")
    region = _short(_("所在地区"), 100, "address-level2", placeholder=_("如：北京市朝阳区"), required=False)
    detail = _short(_("详细地址"), 200, "street-address", placeholder=_("街道、楼栋、门牌号"))
    label = _short(_("标签"), 20, "off", placeholder=_("家、公司、学校"), required=False)
    token = forms.RegexField(MADE_WITH_THE_PAGE, widget=forms.HiddenInput)

    def is_begun(self) -> bool:
        """Whether somebody has typed something into it."""
        return any(self.data.get(self.add_prefix(name), "").strip() for name in ("contact_name", "region", "detail"))


class PayForm(forms.Form):
    """Which provider to pay with. The token was made with the page, so a double click pays once."""

    provider = forms.ChoiceField(choices=lambda: list(payments.services.provider_labels().items()))
    token = forms.RegexField(MADE_WITH_THE_PAGE)


class CancelForm(forms.Form):
    """Why, in the customer's words."""

    reason = forms.CharField(
        label=_("取消原因（选填）"),
        max_length=LONGEST_REASON,
        required=False,
        widget=forms.TextInput(attrs={"list": "reasons", "autocomplete": "off"}),
    )


class CloseAccountForm(ServiceForm):
    """Who it is, once more: by the password or by a code to the phone."""

    marks_optional = False

    current_password = forms.CharField(
        label=_("当前密码"),
        max_length=128,
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    code = forms.CharField(
        label=_("验证码"),
        max_length=6,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "maxlength": "6"}),
    )

    def __init__(self, *args: Any, has_password: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_password:
            del self.fields["current_password"]
