"""Bringing a WeChat into an account: what accounts can't know is whether the one it had before ever ordered."""

from __future__ import annotations

import accounts.services
from accounts.services import Profile
from orders.models import Order
from waimai.infra import archive


def bind_wechat(
    *, user_id: int, code: str, address: str, current_password: str | None = None, sms_code: str | None = None
) -> Profile:
    """`accounts.services.bind_wechat`; an account that the WeChat had before is closed if nothing was ordered by it."""
    return accounts.services.bind_wechat(
        user_id=user_id,
        code=code,
        address=address,
        current_password=current_password,
        sms_code=sms_code,
        may_close=_never_ordered,
    )


def _never_ordered(user_id: int) -> bool:
    """Whether nothing was ever ordered, or is just being. Once months are archived nobody here can know: then no."""
    return not archive.oldest_living_id() and not Order.objects.for_user(user_id).exists()
