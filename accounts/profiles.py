"""What is known of a person: the profile, the password, and the short form that other apps show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.password_validation import (
    MinimumLengthValidator,
    UserAttributeSimilarityValidator,
    get_default_password_validators,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.logins import LONGEST_PASSWORD, prove_again
from accounts.models import ClosedAccount, User
from accounts.staff import Role, roles_of
from waimai.infra.errors import NotFound, ValidationFailed

LONGEST_NICKNAME = 32
# Letters by their category that show nothing: fillers of Hangul, and the empty Braille pattern.
EMPTY_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class LongEnough(MinimumLengthValidator):
    """Django's rule, in words that our catalogue has: its own have no Chinese since they were changed."""

    def get_error_message(self) -> str:
        """What is said of a shorter one."""
        return _("密码太短，至少 %(number)d 个字符") % {"number": self.min_length}


class NotTooLong:
    """Refuses what no login would look at."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raise ValidationError for more than 128 characters."""
        if len(password) > LONGEST_PASSWORD:
            raise ValidationError(self.get_help_text())

    def get_help_text(self) -> str:
        """The rule in words."""
        return _("密码最多 128 个字符")


# Beside those of the settings, which know neither phones nor nicknames.
OUR_RULES = (NotTooLong(), UserAttributeSimilarityValidator(("phone", "nickname", "username")))


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A person, as shown to that person."""

    id: int
    phone: str | None
    username: str | None
    nickname: str
    is_staff: bool
    has_password: bool
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UserBrief:
    """A person, as shown to staff beside an order."""

    id: int
    nickname: str
    phone: str


def profile_of(user: User) -> Profile:
    """The profile of a user, with the roles if it is staff."""
    return Profile(
        id=user.pk,
        phone=user.phone,
        username=user.username,
        nickname=user.nickname,
        is_staff=user.is_staff,
        has_password=user.has_usable_password(),
        roles=roles_of(user_id=user.pk) if user.is_staff else (),
    )


def own_profile(*, user_id: int) -> Profile:
    """The profile of the user with this number. Raises NotFound."""
    return profile_of(_get(user_id))


def update_profile(*, user_id: int, nickname: str | None = None) -> Profile:
    """Change the nickname (1 to 32 characters), or nothing. Raises ValidationFailed, NotFound."""
    user = _get(user_id)
    if nickname is None:
        return profile_of(user)
    user.nickname = nickname.strip()
    if _shows_nothing(user.nickname) or len(user.nickname) > LONGEST_NICKNAME:
        raise ValidationFailed(errors={"nickname": [_("请输入 1 至 32 个字")]})
    # The account may have been closed since the request came in.
    if not User.objects.filter(pk=user_id, is_active=True).update(nickname=user.nickname):
        raise NotFound
    return profile_of(user)


def _shows_nothing(text: str) -> bool:
    """Whether it is empty to a reader: blanks, also those without width, and control characters."""
    return all(unicodedata.category(each)[0] in "ZC" or each in EMPTY_LETTERS for each in text)


def set_password(
    *, user_id: int, new_password: str, address: str, current_password: str | None = None, code: str | None = None
) -> User:
    """Set or change the password, proved by the current one or by a login code sent to the user's own phone.

    Every token and session made before ends. Raises WrongCredentials, WrongCode, ValidationFailed, RateLimited.
    """
    user = _get(user_id)
    try:
        # First, so that a code isn't spent on a password that will not do.
        validate_password(new_password, user, [*get_default_password_validators(), *OUR_RULES])
    except ValidationError as error:
        raise ValidationFailed(errors={"new_password": error.messages}) from error
    prove_again(user, current_password=current_password, code=code, address=address)
    user.set_password(new_password)
    user.save(update_fields=["password"])
    return user


def set_active(*, user_ids: Iterable[int], active: bool) -> int:
    """Switch people off, which ends their sessions and tokens at once, or on again; returns how many changed.

    Who has closed the account is gone for good.
    """
    people = User.objects.filter(pk__in=list(user_ids)).exclude(pk__in=ClosedAccount.objects.values("user_id"))
    return people.exclude(is_active=active).update(is_active=active)


def user_brief(ids: Iterable[int]) -> dict[int, UserBrief]:
    """Nicknames and phones of many users in one query; unknown ids are left out."""
    rows = User.objects.filter(pk__in=set(ids)).values_list("pk", "nickname", "phone")
    return {pk: UserBrief(id=pk, nickname=nickname, phone=phone or "") for pk, nickname, phone in rows}


def _get(user_id: int) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound
    return user
