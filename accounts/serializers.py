"""Shapes of the accounts API. The rules live in the services; here stands what OpenAPI tells about each field."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts import validators
from waimai.infra.api import NumberField, TextField, TrueFalseField


class PhoneField(serializers.RegexField):
    """A mobile number of eleven digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators.MOBILE, error_messages={"invalid": validators.mobile.message}, **kwargs)


class CodeField(serializers.RegexField):
    """A login code of six digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators.CODE, error_messages={"invalid": validators.login_code.message}, **kwargs)


class SmsRequest(serializers.Serializer[Any]):
    """Where to send a code."""

    phone = PhoneField()


class SmsSent(serializers.Serializer[Any]):
    """A code is on its way."""

    expires_in = serializers.IntegerField(help_text="Seconds the code lives")
    resend_after = serializers.IntegerField(help_text="Seconds until the next may be asked for")


class LoginRequest(serializers.Serializer[Any]):
    """A phone with either a code or a password."""

    one_of = ("code", "password")
    phone = PhoneField()
    code = CodeField(required=False)
    password = TextField(required=False, max_length=128, trim_whitespace=False, style={"input_type": "password"})

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Exactly one proof."""
        if ("code" in attrs) == ("password" in attrs):
            raise serializers.ValidationError({"code": [_("请提供验证码或密码其中之一")]})
        return attrs


class WeChatRequest(serializers.Serializer[Any]):
    """A code that WeChat gave the client; it works once."""

    code = TextField(max_length=128)


class StaffLoginRequest(serializers.Serializer[Any]):
    """A member of staff."""

    username = TextField(max_length=150)
    password = TextField(max_length=128, trim_whitespace=False, style={"input_type": "password"})
    otp = TextField(
        max_length=8, default="", allow_blank=True, help_text="The token of the second factor, if there is one"
    )


class RefreshRequest(serializers.Serializer[Any]):
    """A refresh token."""

    refresh = TextField(max_length=4096)


class Tokens(serializers.Serializer[Any]):
    """A token pair; each refresh token works once."""

    access = serializers.CharField()
    refresh = serializers.CharField()


class StaffRole(serializers.Serializer[Any]):
    """A role in a shop."""

    shop_id = serializers.IntegerField()
    role = serializers.CharField(help_text="manager, front_desk, kitchen or courier")


class UserProfile(serializers.Serializer[Any]):
    """A person, as shown to that person."""

    id = serializers.IntegerField(read_only=True)
    phone = serializers.CharField(read_only=True, allow_null=True)
    username = serializers.CharField(read_only=True, allow_null=True)
    nickname = TextField(max_length=32)
    is_staff = serializers.BooleanField(read_only=True)
    has_password = serializers.BooleanField(read_only=True)
    roles = StaffRole(many=True, read_only=True)


class LoggedIn(Tokens):
    """A token pair and whose it is."""

    user = UserProfile()


class PasswordRequest(serializers.Serializer[Any]):
    """A new password, proved by the current one or by a code sent to the user's phone."""

    new_password = TextField(min_length=8, max_length=128, trim_whitespace=False, style={"input_type": "password"})
    current_password = TextField(
        required=False, max_length=128, trim_whitespace=False, style={"input_type": "password"}
    )
    code = CodeField(required=False)


class AddressBody(serializers.Serializer[Any]):
    """A delivery address; coordinates in degrees, both or neither."""

    id = serializers.IntegerField(read_only=True)
    contact_name = TextField(max_length=32)
    phone = serializers.RegexField(
        validators.CONTACT_PHONE, error_messages={"invalid": validators.contact_phone.message}, max_length=20
    )
    region = TextField(max_length=100, required=False, allow_blank=True)
    detail = TextField(max_length=200, min_length=2)
    label = TextField(max_length=20, required=False, allow_blank=True)  # type: ignore[assignment]  # A field has a label, too.
    latitude = NumberField(required=False, allow_null=True, min_value=-90, max_value=90)
    longitude = NumberField(required=False, allow_null=True, min_value=-180, max_value=180)
    is_default = TrueFalseField(required=False)
