"""The second factor of staff: a time-based one-time password (RFC 6238) from an app, kept and checked by django-otp.

Its devices remember the last token, so that none works twice, and wait longer after each wrong one.
"""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _
from django_otp import verify_token
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.errors import OtpRequired, WrongOtp
from accounts.models import User
from waimai.infra.errors import NotFound


def refuse_if_needed(user: User) -> None:
    """For the doors of customers, which ask for no token. Raises OtpRequired for staff who need one."""
    if user.is_staff and (settings.WAIMAI_STAFF_OTP == "required" or _device(user)):
        raise OtpRequired(_("员工请用用户名、密码和动态验证码登录"))


def check(user: User, token: str) -> None:
    """Pass if the person needs no second factor or `token` is right.

    Raises OtpRequired when there is no token, or no device where `WAIMAI_STAFF_OTP` wants one, and WrongOtp.
    """
    device = _device(user)
    if device is None:
        if settings.WAIMAI_STAFF_OTP == "required":
            raise OtpRequired(_("请先请管理员为您绑定动态验证码"))
        return
    if not token:
        raise OtpRequired
    if verify_token(user, device.persistent_id, token) is None:
        raise WrongOtp


def enroll(username: str) -> TOTPDevice:
    """A new device for a member of staff, to be confirmed by its first token; older ones stay. Raises NotFound."""
    return TOTPDevice.objects.create(user=_staff(username), name="app", confirmed=False)


def confirm(device: TOTPDevice, token: str) -> bool:
    """Take a new device into use, and no other any more, if `token` is one of its tokens."""
    if verify_token(device.user, device.persistent_id, token) is None:
        return False
    TOTPDevice.objects.filter(user=device.user).exclude(pk=device.pk).delete()
    TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
    return True


def remove(username: str) -> int:
    """Take a lost device out of use; returns how many there were. Raises NotFound."""
    gone: int = TOTPDevice.objects.filter(user=_staff(username)).delete()[0]
    return gone


def _device(user: User) -> TOTPDevice | None:
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return found


def _staff(username: str) -> User:
    user = User.objects.filter(username=username, is_staff=True).first()
    if user is None:
        raise NotFound
    return user
