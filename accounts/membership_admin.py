"""Who works where, in the admin: shops and roles are chosen by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Field, ForeignKey, QuerySet
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership, User
from accounts.staff import ROLES, role_name
from accounts.workplaces import shop_names
from waimai.infra.admin_base import ModelAdmin, SelectWidget, TabularInline

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

NO_CHOICE: tuple[StrOrPromise, StrOrPromise] = ("", "---------")


def _shops() -> list[tuple[Any, Any]]:
    return [NO_CHOICE, *sorted(shop_names().items())]


class RoleField(ModelChoiceField[Group]):
    """One of the roles."""

    def label_from_instance(self, obj: Group) -> str:
        """In the reader's language."""
        return role_name(obj)


class RoleFilter(admin.RelatedFieldListFilter):
    """By role."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """In the reader's language."""
        return [(str(group.pk), role_name(group)) for group in Group.objects.filter(name__in=ROLES).order_by("pk")]


class Named:
    """Offers the shops that there are, and of the groups those that are roles."""

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Only the groups that are roles."""
        if db_field.name == "group":
            kwargs |= {"queryset": Group.objects.filter(name__in=ROLES), "form_class": RoleField}
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]  # A mixin's.
            db_field, request, **kwargs
        )
        return field

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Only numbers of shops, by name."""
        if db_field.name != "shop_id":
            return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]  # As above.
        label = _("店铺")
        widget = SelectWidget(attrs={"aria-label": label})
        return forms.TypedChoiceField(choices=_shops, coerce=int, label=label, widget=widget)


class MembershipInline(Named, TabularInline[Membership, User]):
    """In which shops somebody works, and as what."""

    model = Membership
    extra = 0


class ShopFilter(admin.SimpleListFilter):
    """By shop."""

    title, parameter_name = _("店铺"), "shop_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Those that there are."""
        return [(str(number), name) for number, name in sorted(shop_names().items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> QuerySet[Membership]:
        """Who works there."""
        chosen = {str(number): number for number in shop_names()}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(shop_id=chosen)


@admin.register(Membership)
class MembershipAdmin(Named, ModelAdmin[Membership]):
    """Who works where."""

    list_select_related = ("user", "group")
    list_filter = (("group", RoleFilter), ShopFilter)
    search_fields = ("^user__username", "^user__nickname", "^user__phone")
    autocomplete_fields = ("user",)

    @admin.display(description=_("角色"), ordering="group__name")
    def role(self, row: Membership) -> str:
        """In the reader's language."""
        return role_name(row.group)

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """With the shops' names, asked once for the whole list."""
        names = shop_names()

        @admin.display(description=_("店铺"), ordering="shop_id")
        def shop(row: Membership) -> str:
            return names.get(row.shop_id, f"#{row.shop_id}")

        return ("user", shop, "role")
