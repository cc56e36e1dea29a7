"""Django admin of accounts. People are switched off, never deleted: orders on other databases keep their ids."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import authenticate
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import ForeignKey, QuerySet
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts import forms, services
from accounts.granting_admin import GroupForm, UserForm
from accounts.models import Address, ClosedAccount, Membership, User
from accounts.staff import ROLES
from waimai.infra.admin import press
from waimai.infra.admin_base import (
    AdminPasswordChangeForm,
    AdminUserCreationForm,
    Growing,
    ModelAdmin,
    PasswordWidget,
    TabularInline,
    TextWidget,
)

# Rows that the machinery keeps; made or edited by hand they only do harm. Groups have a page of ours, below.
for _model in (BlacklistedToken, OutstandingToken, TOTPDevice, Group):
    admin.site.unregister(_model)


class StaffAuthenticationForm(AdminAuthenticationForm):
    """The admin's login, with a field for the second factor."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": _("用户名、密码或动态验证码不正确，或尝试过于频繁。"),
    }
    otp = forms.otp_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, widget in {"username": TextWidget, "password": PasswordWidget, "otp": TextWidget}.items():
            self.fields[name].widget = widget(self.fields[name].widget.attrs)

    def clean(self) -> dict[str, Any]:
        """Ask the same door as every other login of staff. Raises ValidationError."""
        proof = {name: self.cleaned_data.get(name, "") for name in ("username", "password", "otp")}
        if proof["username"] and proof["password"]:
            self.user_cache = authenticate(self.request, **proof)
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data


admin.site.login_form = StaffAuthenticationForm


class NewUserForm(AdminUserCreationForm[User]):
    """A new person, usually staff."""

    class Meta:
        model = User
        fields = ("username", "phone", "nickname", "is_staff")
        # Django's field for usernames can't be left empty.
        field_classes: dict[str, Any] = {}


class RolesOnly:
    """Offers the groups that are roles, and no others."""

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Only the groups that are roles."""
        if db_field.name == "group":
            kwargs["queryset"] = Group.objects.filter(name__in=ROLES)
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]
            db_field, request, **kwargs
        )
        return field


class MembershipInline(RolesOnly, TabularInline[Membership, User]):
    """In which shops somebody works, and as what."""

    model = Membership
    extra = 0


class AddressInline(TabularInline[Address, User]):
    """Where somebody lives; changed on the address's own page."""

    model = Address
    extra = 0
    fields = ("contact_name", "phone", "region", "detail", "label", "is_default")
    readonly_fields = fields
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Customers enter their own."""
        return False


@admin.register(User)
class UserAdmin(Growing, DjangoUserAdmin[User], ModelAdmin[User]):
    """People."""

    form = UserForm
    add_form = NewUserForm
    compressed_fields = False
    change_password_form = AdminPasswordChangeForm
    list_display = ("__str__", "phone", "username", "is_staff", "is_active", "date_joined", "last_login")
    list_filter = ("is_staff", "is_active", "is_superuser", "memberships__group")
    search_fields = ("^phone", "^username")
    search_help_text = _("手机号或用户名的开头")
    ordering = ("-pk",)
    readonly_fields = ("openid", "last_login", "date_joined")
    filter_horizontal = ()
    inlines = (MembershipInline, AddressInline)
    actions = ("switch_off", "switch_on")
    fieldsets = (
        (None, {"fields": ("phone", "username", "nickname", "openid", "password")}),
        (_("权限"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("时间"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {"fields": ("username", "phone", "nickname", "is_staff", "usable_password", "password1", "password2")},
        ),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: see above."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Not of a closed account: a page that was opened before must not bring the person back."""
        may: bool = super().has_change_permission(request, obj)
        return may and (obj is None or not ClosedAccount.objects.filter(user=obj).exists())

    @admin.action(description=_("停用所选用户"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Shut every door to these people, at once; not to oneself."""
        others = queryset.exclude(pk=cast(User, request.user).pk)
        count = press(
            request, others, _("停用"), lambda user: services.set_active(user_ids=[user.pk], active=False) > 0
        )
        self.message_user(request, _("已停用 %(count)d 位用户") % {"count": count})

    @admin.action(description=_("启用所选用户"), permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Let these people in again."""
        count = press(
            request, queryset, _("启用"), lambda user: services.set_active(user_ids=[user.pk], active=True) > 0
        )
        self.message_user(request, _("已启用 %(count)d 位用户") % {"count": count})


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin[Group]):
    """Roles, and what each may do."""

    form = GroupForm
    filter_horizontal = ()
    # The boxes of the permissions leave no room for a label beside them.
    compressed_fields = False


@admin.register(Address)
class AddressAdmin(Growing, ModelAdmin[Address]):
    """Addresses. Which one is the default is changed by the service only."""

    list_display = ("contact_name", "phone", "region", "detail", "label", "is_default", "user")
    list_select_related = ("user",)
    search_fields = ("^user__phone", "^user__username")
    search_help_text = _("用户的手机号或用户名的开头")
    ordering = ("-pk",)
    autocomplete_fields = ("user",)
    readonly_fields = ("is_default",)
    actions = ("make_default",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Customers enter their own."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Address | None = None) -> tuple[str, ...]:
        """An address never changes hands."""
        return ("user", "is_default")

    def save_model(self, request: HttpRequest, obj: Address, form: ModelForm[Address], change: bool) -> None:
        """Change what was changed, under the customer's lock."""
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        services.change_address(user_id=obj.user_id, address_id=obj.pk, changes=changes)

    def delete_model(self, request: HttpRequest, obj: Address) -> None:
        """Delete one; another becomes the default."""
        services.delete_address(user_id=obj.user_id, address_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Address]) -> None:
        """Delete several, one by one, so that each customer keeps a default."""
        for address in queryset:
            self.delete_model(request, address)

    @admin.action(description=_("设为默认地址"), permissions=["change"])
    def make_default(self, request: HttpRequest, queryset: QuerySet[Address]) -> None:
        """Make each the default of its customer."""
        press(
            request,
            queryset,
            _("设为默认地址"),
            lambda row: services.set_default_address(user_id=row.user_id, address_id=row.pk),
        )


@admin.register(Membership)
class MembershipAdmin(RolesOnly, ModelAdmin[Membership]):
    """Who works where."""

    list_display = ("user", "shop_id", "group")
    list_select_related = ("user", "group")
    list_filter = ("group", "shop_id")
    search_fields = ("^user__username", "^user__nickname", "^user__phone")
    autocomplete_fields = ("user",)
