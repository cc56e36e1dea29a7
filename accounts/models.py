"""People, where they live, and what staff may do in which shop. All of it stands on the default database."""

from __future__ import annotations

from functools import partial
from secrets import token_hex
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import validators
from waimai.infra.fields import ExactCharField

ATTEMPTS_PER_CODE = 5


def masked(phone: str | None) -> str:
    """A telephone number that tells its owner apart and can't be called: `139****0001`."""
    return f"{phone[:3]}****{phone[-4:]}" if phone else ""


class UserManager(BaseUserManager["User"]):
    """Makes users; a customer has a phone or an openid, staff have a username."""

    def create_user(self, username: str | None = None, password: str | None = None, **fields: Any) -> User:
        """A user with a hashed password; without one, only codes or WeChat let the person in."""
        if username:
            fields["username"] = self.model.normalize_username(username)
        user = self.model(**fields)
        user.set_password(password)
        user.save(using=self._db, force_insert=True)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> User:
        """Staff who may do everything in every shop."""
        return self.create_user(username, password, **{**fields, "is_staff": True, "is_superuser": True})


class User(AbstractBaseUser, PermissionsMixin):
    """A person: customers by phone or WeChat openid, staff by username; one person may have all three.

    Never deleted, since orders on other databases keep the id; `is_active` off shuts every door.
    """

    username = models.CharField(_("用户名"), max_length=150, unique=True, null=True, blank=True)
    phone = models.CharField(
        _("手机号"), max_length=11, unique=True, null=True, blank=True, validators=[validators.mobile]
    )
    openid = ExactCharField(_("微信 openid"), max_length=64, unique=True, null=True, blank=True)
    nickname = models.CharField(_("昵称"), max_length=32, blank=True, default="")
    is_staff = models.BooleanField(_("员工"), default=False, help_text=_("可以登录后台"))
    is_active = models.BooleanField(_("启用"), default=True, help_text=_("停用后无法登录，已发出的令牌立即失效"))
    date_joined = models.DateTimeField(_("注册时间"), default=timezone.now)

    objects = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("用户")
        verbose_name_plural = _("用户")

    def __str__(self) -> str:
        # Stands in the admin's log as well: no whole telephone number.
        return self.nickname or self.username or masked(self.phone) or f"#{self.pk}"

    def get_short_name(self) -> str:
        """What pages call this person."""
        return str(self)

    get_full_name = get_short_name


class Address(models.Model):
    """A place to deliver to. While a user has any, exactly one is the default: `accounts.addresses` sees to it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="addresses", verbose_name=_("用户"))
    contact_name = models.CharField(_("联系人"), max_length=32)
    phone = models.CharField(_("联系电话"), max_length=20, validators=[validators.contact_phone])
    region = models.CharField(_("所在地区"), max_length=100, blank=True, default="")
    detail = models.CharField(_("详细地址"), max_length=200, validators=[MinLengthValidator(2)])
    label = models.CharField(_("标签"), max_length=20, blank=True, default="")
    latitude = models.DecimalField(
        _("纬度"), max_digits=9, decimal_places=6, null=True, blank=True, validators=validators.LATITUDE
    )
    longitude = models.DecimalField(
        _("经度"), max_digits=9, decimal_places=6, null=True, blank=True, validators=validators.LONGITUDE
    )
    is_default = models.BooleanField(_("默认地址"), default=False)
    # What a door keeps for its own client: the codes of the mini-program's regions, say.
    extra: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("收货地址")
        verbose_name_plural = _("收货地址")

    def __str__(self) -> str:
        # As above: neither name nor street.
        return f"#{self.pk}"

    def clean(self) -> None:
        """Half a position is none. Raises ValidationError."""
        if (self.latitude is None) != (self.longitude is None):
            missing = "latitude" if self.latitude is None else "longitude"
            raise ValidationError({missing: _("经度和纬度必须同时提供")})


class LoginSession(models.Model):
    """One login by the API. Every token of it carries its number; ended, all of them are worth nothing."""

    class End(models.TextChoices):
        LOGOUT = "logout", _("退出登录")
        REUSE = "reuse", _("刷新令牌被重复使用")

    id = models.CharField(max_length=32, primary_key=True, default=partial(token_hex, 16))
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("用户"))
    started_at = models.DateTimeField(_("开始时间"), default=timezone.now)
    renewed_at = models.DateTimeField(_("续期时间"), default=timezone.now, db_index=True)
    ended_at = models.DateTimeField(_("结束时间"), null=True)
    end = models.CharField(_("结束原因"), max_length=8, choices=End.choices, blank=True, default="")

    class Meta:
        verbose_name = _("登录会话")
        verbose_name_plural = _("登录会话")

    def __str__(self) -> str:
        return f"{self.user} {self.started_at:%Y-%m-%d %H:%M}"


class ClosedAccount(models.Model):
    """An account whose owner had it deleted. Its number stays; `erased_at` is when no order named it any more."""

    user = models.OneToOneField(
        User, on_delete=models.PROTECT, primary_key=True, related_name="+", verbose_name=_("用户")
    )
    closed_at = models.DateTimeField(_("注销时间"))
    erased_at = models.DateTimeField(_("清除时间"), null=True)

    class Meta:
        verbose_name = _("已注销账号")
        verbose_name_plural = _("已注销账号")
        indexes: ClassVar = [models.Index(fields=["erased_at", "closed_at"], name="closed_account_waiting")]

    def __str__(self) -> str:
        return str(self.pk)


class SmsCode(models.Model):
    """The one login code a phone may use now. The row is replaced by the next code and spent by compare-and-set."""

    phone = models.CharField(max_length=11, primary_key=True)
    code_hash = models.CharField(max_length=64)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    attempts_left = models.PositiveSmallIntegerField(default=ATTEMPTS_PER_CODE)

    class Meta:
        verbose_name = _("短信验证码")
        verbose_name_plural = _("短信验证码")

    def __str__(self) -> str:
        return self.phone


class Membership(models.Model):
    """A person's role in a shop; roles are Django groups. `shop_id` is a plain number, as the menu is above us."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("员工"))
    shop_id = models.BigIntegerField(_("店铺编号"), db_index=True)
    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="memberships", verbose_name=_("角色"))

    class Meta:
        verbose_name = _("店铺员工")
        verbose_name_plural = _("店铺员工")
        constraints = [models.UniqueConstraint(fields=["user", "shop_id", "group"], name="membership_once")]
        permissions = [
            ("accept_order", _("接单")),
            ("reject_order", _("拒单")),
            ("deliver_order", _("派送")),
            ("complete_order", _("完成订单")),
            ("cancel_order", _("取消订单")),
            ("view_board", _("查看订单看板")),
            ("amend_order", _("换菜")),
            ("run_shop", _("开店与打烊")),
            ("sell_out", _("设置售罄")),
        ]

    def __str__(self) -> str:
        return f"{self.user} @ {self.shop_id}"

    def clean(self) -> None:
        """A role is worth nothing to somebody who isn't staff. Raises ValidationError."""
        user = getattr(self, "user", None)
        if user is not None and not user.is_staff:
            raise ValidationError(_("请先将该用户设为员工"))
