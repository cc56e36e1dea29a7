"""The link that shows how far an order is: to anybody who has it, for a day, and nothing about whose it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import signing
from django.test import Client
from django.utils import timezone

from orders import services
from tests.factories import Person, Stall, accepted, paid
from tests.support.browsing import Browser

pytestmark = [pytest.mark.once, pytest.mark.data]


def opened(token: str) -> Any:
    """What a stranger gets."""
    return Client(headers={"accept-language": "zh-hans"}).get(f"/s/{token}/")


def test_a_stranger_sees_the_state_and_nothing_about_the_customer(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 1), note="不要香菜")
    page = Browser(mei.user).open(f"/orders/{order_id}/")
    answer = Client(headers={"accept-language": "zh-hans"}).get(page.links["分享进度"])
    html = answer.content.decode()
    for text in ("川味小馆", "已接单", "3 份", "待付款", "预计 "):
        assert text in html
    for private in (str(mei.user.phone), "梅", "建国路", "不要香菜", "酸菜鱼", "¥", str(order_id)):
        assert private not in html
    assert (answer["Referrer-Policy"], answer["X-Robots-Tag"]) == ("no-referrer", "noindex, nofollow")
    assert "no-store" in answer["Cache-Control"]


def test_reasons_stay_among_those_who_wrote_them(stall: Stall, mei: Person) -> None:
    order_id = paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id, reason="打电话给 13911110001")
    html = opened(services.share_token(order_id)).content.decode()
    assert "已取消" in html
    assert "13911110001" not in html


def test_after_a_day_the_link_is_nothing(stall: Stall, mei: Person) -> None:
    token = services.share_token(paid(mei, stall))
    for hours, status in ((23.9, 200), (24.1, 404)):
        with time_machine.travel(timezone.now() + timedelta(hours=hours), tick=False):
            assert opened(token).status_code == status


@pytest.mark.parametrize("changed", ["salt", "letter", "order"])
def test_a_forged_link_is_nothing(stall: Stall, mei: Person, changed: str) -> None:
    order_id = paid(mei, stall)
    token = services.share_token(order_id)
    forged = {
        "salt": signing.dumps(order_id, salt="something else"),
        "letter": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "order": services.share_token(order_id + 1),
    }
    assert opened(forged[changed]).status_code == 404
