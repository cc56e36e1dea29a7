"""Refusals of the accounts app."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from waimai.infra.errors import DomainError, Unauthenticated


class WrongCredentials(Unauthenticated):
    """Unknown account or wrong password; nobody is told which."""

    code, title = "wrong_credentials", _("账号或密码错误")


class WrongCode(Unauthenticated):
    """The code is wrong, expired, used, or was tried too often; nobody is told which."""

    code, title = "wrong_code", _("验证码错误或已失效，请重新获取")


class OtpRequired(Unauthenticated):
    """The password was right; the token of the second factor is missing."""

    code, title = "otp_required", _("请输入动态验证码")


class WrongOtp(Unauthenticated):
    """The token of the second factor is wrong, was used, or came too soon after a wrong one."""

    code, title = "wrong_otp", _("动态验证码错误")


class InvalidToken(Unauthenticated):
    """The refresh token is forged, expired, already used, or its password has changed since."""

    code, title = "invalid_token", _("登录已失效，请重新登录")


class AccountDisabled(DomainError):
    """The proof was right, but the account is switched off."""

    code, status, title = "account_disabled", 403, _("账号已停用，请联系客服")


class TooManyAddresses(DomainError):
    """A user keeps a limited number of addresses."""

    code, status, title = "too_many_addresses", 409, _("收货地址数量已达上限")


class SmsNotSent(DomainError):
    """The carrier did not take the message; a new one may be asked for at once."""

    code, status, title = "sms_not_sent", 503, _("短信发送失败，请稍后再试")
    retry_after = 5


class WrongWeChatCode(Unauthenticated):
    """WeChat doesn't know the code, or it was used."""

    code, title = "wrong_wechat_code", _("微信登录凭证无效或已失效，请重试")


class WeChatUnavailable(DomainError):
    """WeChat doesn't answer, or is left alone for a while as it kept failing."""

    code, status, title = "wechat_unavailable", 503, _("微信服务暂时不可用，请稍后再试")
    retry_after = 5


class PhoneTaken(DomainError):
    """The phone belongs to another account: log in there, then bind WeChat to it."""

    code, status, title = "phone_taken", 409, _("该手机号已属于另一个账号，请用手机号登录后再绑定微信")


class WeChatTaken(DomainError):
    """This WeChat belongs to another account that has a life of its own."""

    code, status, title = "wechat_taken", 409, _("该微信已绑定另一个账号")


class AlreadyBound(DomainError):
    """The account has another phone, or another WeChat."""

    code, status, title = "already_bound", 409, _("该账号已绑定另一个手机号或微信")
