"""Forms of the accounts pages. They check shapes; what is right is decided, and refused, by the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts import services, validators
from accounts.logins import LONGEST_PASSWORD
from accounts.models import User
from waimai.infra.forms import ServiceForm

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


def _phone_field(**kwargs: Any) -> forms.CharField:
    attrs = {"inputmode": "numeric", "autocomplete": "tel", "maxlength": "11"}
    widget = forms.TextInput(attrs=attrs)
    return forms.CharField(label=_("手机号"), max_length=11, validators=[validators.mobile], widget=widget, **kwargs)


def _code_field(**kwargs: Any) -> forms.CharField:
    attrs = {"inputmode": "numeric", "autocomplete": "one-time-code", "maxlength": "6"}
    widget = forms.TextInput(attrs=attrs)
    return forms.CharField(label=_("验证码"), max_length=6, validators=[validators.login_code], widget=widget, **kwargs)


def _password_field(label: StrOrPromise, autocomplete: str, **kwargs: Any) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, max_length=LONGEST_PASSWORD, strip=False, widget=widget, **kwargs)


def otp_field() -> forms.CharField:
    """The token of a second factor, for those who have one."""
    attrs = {"inputmode": "numeric", "autocomplete": "one-time-code"}
    widget = forms.TextInput(attrs=attrs)
    return forms.CharField(label=_("动态验证码（如已绑定）"), max_length=8, required=False, widget=widget)


class LoginForm(ServiceForm):
    """One way to log in."""

    title: ClassVar[StrOrPromise]
    sends_code: ClassVar[bool] = False

    def log_in(self, address: str) -> User:
        """The user whose proof stands in the form. Raises a DomainError."""
        raise NotImplementedError


class CodeLoginForm(LoginForm):
    """Phone and code; an unknown phone is registered."""

    title = _("验证码登录")
    sends_code = True
    phone = _phone_field()
    code = _code_field()

    def log_in(self, address: str) -> User:
        """Log in with the code."""
        return services.login_with_code(**self.cleaned_data, address=address)


class PasswordLoginForm(LoginForm):
    """Phone and password."""

    title = _("密码登录")
    phone = _phone_field()
    password = _password_field(_("密码"), "current-password")

    def log_in(self, address: str) -> User:
        """Log in with the password."""
        return services.login_with_password(**self.cleaned_data, address=address)


class StaffLoginForm(LoginForm):
    """Username and password, for staff."""

    title = _("员工登录")
    marks_optional = False
    username = forms.CharField(
        label=_("用户名"), max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"})
    )
    password = _password_field(_("密码"), "current-password")
    otp = otp_field()

    def log_in(self, address: str) -> User:
        """Log in as staff."""
        return services.login_staff(**self.cleaned_data, address=address)


LOGIN_WAYS: dict[str, type[LoginForm]] = {
    "code": CodeLoginForm,
    "password": PasswordLoginForm,
    "staff": StaffLoginForm,
}


class SendCodeForm(ServiceForm):
    """Where a code goes."""

    phone = _phone_field()


class ProfileForm(ServiceForm):
    """What a person may change of the profile."""

    nickname = forms.CharField(
        label=_("昵称"), max_length=32, widget=forms.TextInput(attrs={"autocomplete": "nickname"})
    )


class PasswordForm(ServiceForm):
    """A new password, proved by the current one or by a code."""

    marks_optional = False

    new_password = _password_field(_("新密码"), "new-password")
    current_password = _password_field(_("当前密码"), "current-password", required=False)
    code = _code_field(required=False)

    def __init__(self, *args: Any, has_password: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_password:
            del self.fields["current_password"]


WHY_COORDINATES = _("店铺按坐标判断地址是否在配送范围内；不填的话，部分商家无法确认能否送到")
WITH_LATITUDE = _("和纬度一起填写")


class AddressForm(ServiceForm):
    """A delivery address."""

    contact_name = forms.CharField(
        label=_("联系人"), max_length=32, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    phone = forms.CharField(
        label=_("联系电话"),
        max_length=20,
        validators=[validators.contact_phone],
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "tel"}),
    )
    region = forms.CharField(
        label=_("所在地区"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "address-level2", "placeholder": _("如：北京市朝阳区")}),
    )
    detail = forms.CharField(
        label=_("详细地址"),
        min_length=2,
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "street-address", "placeholder": _("街道、楼栋、门牌号")}),
    )
    label = forms.CharField(
        label=_("标签"),
        max_length=20,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": _("家、公司、学校")}),
    )
    latitude = forms.FloatField(
        label=_("纬度"),
        help_text=WHY_COORDINATES,
        required=False,
        min_value=-90,
        max_value=90,
        widget=forms.NumberInput(attrs={"step": "0.000001"}),
    )
    longitude = forms.FloatField(
        label=_("经度"),
        help_text=WITH_LATITUDE,
        required=False,
        min_value=-180,
        max_value=180,
        widget=forms.NumberInput(attrs={"step": "0.000001"}),
    )
    is_default = forms.BooleanField(label=_("设为默认地址"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The default stays the default until another address takes its place.
        self.fields["is_default"].disabled = bool(self.initial.get("is_default"))
