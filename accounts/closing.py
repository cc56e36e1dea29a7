"""Closing an account: whatever tells who the person was goes at once; the number stays, as orders keep it.

What other databases keep of the person is seen to later, by whoever keeps it: `closed_accounts` names those that still
wait, `mark_erased` crosses one off.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from accounts.logins import prove_again
from accounts.models import Address, ClosedAccount, LoginSession, User
from waimai.infra import crashpoints
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, PermissionRefused
from waimai.infra.sharding import DEFAULT

# Longer than any request takes: what was begun before the door shut has come to its end.
LAST_REQUESTS = timedelta(minutes=1)
CLOSED = crashpoints.around("account.close")


def close_account(*, user_id: int, address: str, **proof: str | None) -> None:
    """Close a customer's account for good.

    `proof`, as `accounts.logins.prove_again` takes it, is one of `current_password`, `code` (a login code sent to the
    user's own phone) and `wechat_code` (one of `wx.login`).

    Phone, openid, names and addresses are forgotten and every session ends; the phone may register anew at once.
    Raises PermissionRefused for staff, NotFound, and what the proofs raise.
    """
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise NotFound
    if user.is_staff:
        raise PermissionRefused(_("员工账号请由管理员停用"))
    prove_again(user, address=address, **proof)
    run_atomic(DEFAULT, lambda: forget(user), commit=CLOSED)


def forget(user: User) -> None:
    """Empty and close an account, in the open transaction; what else is kept of it is erased later."""
    user.phone = user.openid = user.username = None
    user.nickname = ""
    user.is_active = False
    user.set_unusable_password()
    user.save(update_fields=["phone", "openid", "username", "nickname", "is_active", "password"])
    Address.objects.filter(user=user).delete()
    LoginSession.objects.filter(user=user).delete()
    OutstandingToken.objects.filter(user=user).delete()
    # The admin's log shows people by their names.
    of_people = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=of_people, object_id=str(user.pk)).update(object_repr=str(user))
    ClosedAccount.objects.get_or_create(user=user, defaults={"closed_at": db_now(DEFAULT)})


def closed_accounts() -> list[int]:
    """The numbers of closed accounts that are still to be erased elsewhere, oldest first."""
    waiting = ClosedAccount.objects.filter(erased_at=None, closed_at__lt=db_now(DEFAULT) - LAST_REQUESTS)
    return list(waiting.order_by("closed_at").values_list("user_id", flat=True))


def mark_erased(user_id: int) -> None:
    """Nothing is left of this person anywhere."""
    ClosedAccount.objects.filter(user_id=user_id).update(erased_at=db_now(DEFAULT))


def erase_all_again() -> int:
    """Old rows came back: every closed account has to be looked at anew; returns how many there are."""
    return ClosedAccount.objects.update(erased_at=None)
