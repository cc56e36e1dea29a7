"""Tickets: each once, reprints marked, as a page and as bytes that a printer understands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils.translation import override

from orders.desk import paper, tickets
from orders.desk import services as desk
from orders.desk.models import DeskOrder, Ticket
from orders.desk.paper import RULE, Row
from orders.desk.tickets import PrintedTicket
from tests.factories import Person, Stall, accepted, at_once, order, paid, relay, settle, works_at
from tests.factories import stall as make_stall
from tests.support.browsing import Browser
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.models import OutboxMessage
from waimai.infra.sharding import DEFAULT, shard_of_id

pytestmark = pytest.mark.data


def take(stall: Stall, who: Person) -> PrintedTicket | None:
    return tickets.take_next(shop_ids=[stall.shop_id], staff_id=who.id)


def test_an_acceptance_makes_one_ticket_however_often_it_is_told(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    OutboxMessage.objects.on(shard_of_id(order_id)).update(state=OutboxMessage.State.PENDING)
    relay()
    assert [(row.order_id, row.kind) for row in Ticket.objects.all()] == [(order_id, "order")]


def test_what_waits_for_the_shop_has_no_ticket_yet(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = paid(mei, stall)
    settle()
    assert take(stall, lan) is None
    with pytest.raises(NotFound):
        tickets.print_again(order_id=order_id, staff_id=lan.id)


def test_printers_take_each_ticket_once_oldest_first(stall: Stall, mei: Person, tao: Person, lan: Person) -> None:
    orders = [accepted(who, stall, lan, key=str(n)) for n, who in enumerate((mei, tao, mei))]
    settle()
    first = take(stall, lan)
    assert first is not None
    # As the shop heard of them: the news of two shards have no order among them.
    assert (first.order.order_id, first.reprint) == (Ticket.objects.order_by("id")[0].order_id, 0)
    taken = at_once(*[lambda: take(stall, lan)] * 4)
    got = sorted(each.order.order_id for each in taken if isinstance(each, PrintedTicket))
    assert sorted([first.order.order_id, *got]) == sorted(orders)
    assert [each for each in taken if each is None] == [None, None]
    assert take(stall, lan) is None


def test_a_reprint_says_so_and_how_often(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    assert [tickets.print_again(order_id=order_id, staff_id=lan.id).reprint for _ in range(3)] == [0, 1, 2]
    assert take(stall, lan) is None
    printed = tickets.print_again(order_id=order_id, staff_id=lan.id)
    assert "补打 第 3 次" in [row.left for row in paper.rows_of(printed, zone="Asia/Shanghai")]


def test_another_shops_tickets_are_not_there(stall: Stall, mei: Person, lan: Person) -> None:
    stranger = works_at(make_stall("面馆").shop_id, "manager", "stranger")
    order_id = accepted(mei, stall, lan)
    settle()
    with pytest.raises(NotFound):
        tickets.take_next(shop_ids=[stall.shop_id], staff_id=stranger.id)
    with pytest.raises(NotFound):
        tickets.print_again(order_id=order_id, staff_id=stranger.id)
    assert Ticket.objects.get().printed_at is None


def test_all_the_kitchen_and_the_courier_need_stands_on_it(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan, (stall.fish, 2), (stall.rice, 1), note="不要葱", tableware=3)
    settle()
    printed = take(stall, lan)
    assert printed is not None
    rows = paper.rows_of(printed, zone="Asia/Shanghai")
    text = "\n".join(f"{row.left} {row.right}".strip() for row in rows)
    for words in (
        "#001",
        "川味小馆",
        "酸菜鱼 × 2",
        "米饭 × 1",
        "备注：不要葱",
        "餐具份数 3",
        "梅 13911110001",
        str(order_id),
    ):
        assert words in text, words
    with override("en"):
        assert "Note: 不要葱" in [row.left for row in paper.rows_of(printed, zone="Asia/Shanghai")]


def test_nobody_cooks_by_the_ticket_of_an_order_that_is_over(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    desk.cancel(order_id=order_id, staff_id=lan.id, reason="客人电话取消")
    settle()
    assert take(stall, lan) is None


def test_an_order_from_before_there_were_tickets_gets_one_when_asked(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    Ticket.objects.all().delete()
    assert [tickets.print_again(order_id=order_id, staff_id=lan.id).reprint for _ in range(2)] == [0, 1]


def test_a_stranger_who_asks_puts_nothing_into_the_queue(stall: Stall, mei: Person, lan: Person) -> None:
    stranger = works_at(make_stall("面馆").shop_id, "manager", "stranger")
    order_id = accepted(mei, stall, lan)
    settle()
    Ticket.objects.all().delete()
    for who in (stranger, mei):
        with pytest.raises(NotFound):
            tickets.print_again(order_id=order_id, staff_id=who.id)
    assert not Ticket.objects.exists()


def test_a_ticket_made_late_was_taken_with_it(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    Ticket.objects.all().delete()
    tickets.print_again(order_id=order_id, staff_id=lan.id)
    assert take(stall, lan) is None


def test_of_two_late_ones_at_once_one_is_the_original(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    Ticket.objects.all().delete()
    printed = at_once(*[lambda: tickets.print_again(order_id=order_id, staff_id=lan.id)] * 3)
    assert sorted(each.reprint for each in printed if isinstance(each, PrintedTicket)) == [0, 1, 2]


def test_news_that_come_late_make_no_ticket_of_what_is_over(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    news = OutboxMessage.objects.on(shard_of_id(order_id)).filter(topic="order.accepted")
    assert news.update(next_at=db_now(DEFAULT) + timedelta(hours=1)) == 1
    desk.cancel(order_id=order_id, staff_id=lan.id, reason="客人电话取消")
    settle()
    news.update(next_at=db_now(DEFAULT) - timedelta(seconds=1))
    settle()
    assert not news.filter(state=OutboxMessage.State.PENDING).exists()
    assert not Ticket.objects.exists()


def test_what_was_just_cancelled_is_not_printed_while_the_news_is_on_its_way(
    stall: Stall, mei: Person, lan: Person
) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    desk.cancel(order_id=order_id, staff_id=lan.id, reason="客人电话取消")
    assert Ticket.objects.filter(order_id=order_id).exists()
    assert take(stall, lan) is None
    assert not Ticket.objects.exists()


# --- the bytes ---


def test_bytes_for_a_printer_fit_the_paper() -> None:
    rows = [Row("#001", large=True, centred=True), RULE, Row("酸菜鱼", "× 2"), Row("很长的菜名" * 8, "× 1")]
    said = paper.escpos(rows, paper=58)
    assert said.startswith(b"\x1b@\x1c&")
    assert said.endswith(b"\x1dVB\x60")
    assert b"\x1ba\x01\x1d!\x11\x1bE\x01#001\n" in said
    assert b"-" * 32 + b"\n" in said
    line = "酸菜鱼".encode("gb18030") + b" " * (32 - 6 - 4) + "× 2".encode("gb18030")
    assert line + b"\n" in said
    assert b"\n" + b" " * 28 + "× 1".encode("gb18030") in said
    assert len(paper.escpos(rows, paper=80)) > len(said)


def test_a_customers_note_is_no_command() -> None:
    said = paper.escpos([Row("备注：\x1dV0\x1b@\r\n开钱箱\x1bp")])
    body = said[len(paper.RESET + paper.CHINESE) : -len(paper.CUT)]
    assert b"\x1b" not in body
    assert b"\x1d" not in body
    assert body.count(b"\n") == 1


def test_what_the_code_page_lacks_is_written_too() -> None:
    assert "😀".encode("gb18030") in paper.escpos([Row("😀")])


# --- the pages ---


@pytest.fixture
def board(lan: Person) -> Browser:
    return Browser(lan.user)


def test_the_next_ticket_is_a_page_to_print(stall: Stall, mei: Person, lan: Person, board: Browser) -> None:
    accepted(mei, stall, lan)
    settle()
    page = board.open("/board/")
    assert "1 张待打印" in page.text
    printed = board.submit(page, "/board/tickets/next/")
    assert "#001" in printed.text
    assert "酸菜鱼" in printed.text
    page = board.open("/board/")
    assert "待打印" not in page.text
    order_id = DeskOrder.objects.get().order_id
    assert "补打 第 1 次" in board.submit(page, f"/board/orders/{order_id}/ticket/").text


def test_a_printers_program_gets_bytes_or_nothing(stall: Stall, mei: Person, lan: Person) -> None:
    client = Client()
    client.force_login(lan.user)
    wanted: dict[str, Any] = {"as": "escpos", "paper": "58", "shop": str(stall.shop_id)}
    assert client.post("/board/tickets/next/", wanted).status_code == 204
    accepted(mei, stall, lan)
    settle()
    answer = client.post("/board/tickets/next/", wanted)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.content.startswith(b"\x1b@")
    assert "酸菜鱼".encode("gb18030") in answer.content
    assert client.post("/board/tickets/next/", wanted).status_code == 204
    assert client.post("/board/tickets/next/", wanted | {"shop": "999"}).status_code == 404
    assert client.get("/board/tickets/next/").status_code == 405


def test_the_courier_prints_nothing_of_strangers(stall: Stall, mei: Person, lan: Person) -> None:
    order_id = accepted(mei, stall, lan)
    settle()
    client = Client()
    client.force_login(mei.user)
    assert client.post(f"/board/orders/{order_id}/ticket/").status_code == 404
    assert client.post("/board/tickets/next/").status_code == 403
    assert order(order_id).status == "accepted"
