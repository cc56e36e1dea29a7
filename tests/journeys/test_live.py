"""Streams over real HTTP: what was missed, then what comes, and nothing of anybody else."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from django.utils import timezone

import accounts.services
import menu.services
from accounts.models import LoginSession, Membership
from orders import services
from orders.desk import services as desk
from orders.desk.models import BoardEvent
from tests import factories
from tests.factories import Person, Stall
from tests.support.server import Server, WebProcess
from waimai.infra import live, watching
from waimai.supervisor_web import GRACE_SECONDS

pytestmark = pytest.mark.data
WITHIN_SECONDS = 15


class Stream:
    """An open stream and its events."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer
        self.status = answer.status

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """(id, kind, data) of the next event; comments and retry hints are passed over."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if not line and "data" in fields:
                return fields["id"], fields["event"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value

    def problem(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.answer.read())
        return found


@contextmanager
def listening(server: Server, path: str, who: Person | None, **headers: str) -> Iterator[Stream]:
    """A stream opened as a browser would open it."""
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WITHIN_SECONDS)
    if who is not None:
        headers["Authorization"] = f"Bearer {accounts.services.issue_tokens(who.user).access}"
    connection.request("GET", f"/api/v1/{path}", headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        yield Stream(connection.getresponse())
    finally:
        connection.close()


def in_a_moment(action: Any) -> None:
    """Do it while somebody listens."""
    from django.db import connections

    def run() -> None:
        action()
        connections.close_all()

    threading.Timer(0.5, run).start()


def test_a_customer_sees_what_was_and_what_comes(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", mei) as stream:
        first = stream.next()
        in_a_moment(lambda: services.cancel(order_id=order_id, user_id=mei.id, reason="点错了"))
        second = stream.next()
    assert (first[0], first[1], first[2]["status"]) == ("1", "status", "pending_payment")
    assert (second[0], second[2]["status"], second[2]["reason"]) == ("2", "cancelled", "点错了")


def test_who_was_away_goes_on_after_the_last_event_seen(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.paid(mei, stall)
    with listening(server, f"orders/{order_id}/events/", mei, Last_Event_ID="1") as stream:
        assert stream.next()[2]["status"] == "paid"


def test_an_overdue_order_is_seen_to_expire_with_no_clock_running(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    factories.overdue(order_id)
    with listening(server, f"orders/{order_id}/events/", mei, Last_Event_ID="1") as stream:
        assert stream.next()[2]["status"] == "cancelled"


def test_somebody_elses_order_is_not_there(server: Server, mei: Person, tao: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", tao) as stream:
        assert (stream.status, stream.problem()["code"]) == (404, "not_found")


def test_a_stream_needs_a_token(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", None) as stream:
        assert (stream.status, stream.problem()["code"]) == (401, "not_authenticated")
        assert stream.answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_forged_token_is_refused(server: Server, stall: Stall) -> None:
    with listening(server, "staff/events/", None, Authorization="Bearer a.b.c") as stream:
        assert stream.status == 401


def test_a_stream_is_only_read(server: Server) -> None:
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=WITHIN_SECONDS)
    connection.request("POST", "/api/v1/staff/events/")
    assert connection.getresponse().status == 405
    connection.close()


def test_every_stream_carries_a_request_id(server: Server, lan: Person) -> None:
    with listening(server, "staff/events/", lan, X_Request_ID="mine-1") as stream:
        assert stream.answer.headers["X-Request-ID"] == "mine-1"
        assert stream.answer.headers["Content-Type"] == "text/event-stream"


def test_more_streams_than_the_process_takes_are_sent_elsewhere(
    server: Server, lan: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", live._open_streams)
    with listening(server, "staff/events/", lan) as stream:
        assert (stream.status, stream.answer.headers["Retry-After"]) == (503, "5")


def test_the_board_hears_of_a_new_order_a_reminder_and_a_cancellation(
    server: Server, mei: Person, lan: Person, stall: Stall
) -> None:
    with listening(server, "staff/events/", lan) as stream:
        order_id = factories.paid(mei, stall)
        factories.relay()
        new = stream.next()
        services.remind(order_id=order_id, user_id=mei.id)
        factories.relay()
        reminder = stream.next()
        services.cancel(order_id=order_id, user_id=mei.id, reason="等太久")
        factories.relay()
        cancelled = stream.next()
    assert [kind for _id, kind, _data in (new, reminder, cancelled)] == ["new_order", "reminder", "cancellation"]
    assert {data["order"] for _id, _kind, data in (new, reminder, cancelled)} == {order_id}
    assert [number for number, _kind, _data in (new, reminder, cancelled)] == [
        f"{stall.shop_id}:{n}" for n in (1, 2, 3)
    ]


def test_the_board_hears_that_a_dish_is_sold_out(server: Server, mei: Person, lan: Person, stall: Stall) -> None:
    menu.services.set_stock(item_id=stall.fish, available=1)
    with listening(server, "staff/events/", lan) as stream:
        factories.placed(mei, stall)
        factories.relay()
        _id, kind, data = stream.next()
    assert (kind, data["item"], data["name"]) == ("sold_out", stall.fish, "酸菜鱼")


def test_a_board_that_was_offline_hears_what_it_missed(server: Server, mei: Person, lan: Person, stall: Stall) -> None:
    for number in range(3):
        factories.paid(mei, stall, key=f"k-{number}")
    factories.relay()
    with listening(server, "staff/events/", lan, Last_Event_ID=f"{stall.shop_id}:1") as stream:
        assert [stream.next()[0] for _ in range(2)] == [f"{stall.shop_id}:2", f"{stall.shop_id}:3"]


def test_a_board_opened_for_the_first_time_starts_now(server: Server, mei: Person, lan: Person, stall: Stall) -> None:
    factories.paid(mei, stall)
    factories.relay()
    with listening(server, "staff/events/", lan) as stream:
        factories.paid(mei, stall, key="k-2")
        factories.relay()
        assert stream.next()[0] == f"{stall.shop_id}:2"


def test_a_position_in_somebody_elses_shop_is_passed_over(mei: Person, lan: Person, stall: Stall) -> None:
    from orders.desk.live import _seen

    assert _seen(f"{stall.shop_id}:4,99:7,x:1,5") == {stall.shop_id: 4, 99: 7}
    assert desk.board_positions(staff_id=lan.id) == {stall.shop_id: 0}


def test_a_customer_has_no_board(server: Server, mei: Person) -> None:
    with listening(server, "staff/events/", mei) as stream:
        assert (stream.status, stream.problem()["code"]) == (403, "permission_denied")


def test_news_that_comes_twice_is_told_once(mei: Person, stall: Stall) -> None:
    from orders.desk import board
    from orders.events import OrderPaid

    order = factories.order(factories.paid(mei, stall))
    event = OrderPaid(
        key=order.pk,
        version=order.version,
        user_id=order.user_id,
        shop_id=order.shop_id,
        status=order.status,
        snapshot=services.snapshot_of(order),
    )
    board.follow(event)
    board.follow(event)
    assert BoardEvent.objects.count() == 1


def test_two_events_at_once_get_two_numbers_without_a_gap(mei: Person, stall: Stall) -> None:
    from orders.desk import board

    tell = [lambda n=n: board.tell_sold_out(item_id=n, shop_id=stall.shop_id, name="豆腐") for n in range(8)]
    assert factories.at_once(*tell) == [None] * 8
    assert list(BoardEvent.objects.order_by("n").values_list("n", flat=True)) == list(range(1, 9))


def test_a_stream_ends_after_a_while_and_its_rights_are_asked_anew(
    server: Server, lan: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LONGEST_SECONDS", 0.2)
    with listening(server, "staff/events/", lan) as stream:
        assert stream.answer.read() == b"retry: 2000\n\n"


def test_a_position_from_before_a_restore_does_not_make_the_board_deaf(
    server: Server, mei: Person, lan: Person, stall: Stall
) -> None:
    with listening(server, "staff/events/", lan, Last_Event_ID=f"{stall.shop_id}:500") as stream:
        factories.paid(mei, stall)
        factories.relay()
        assert stream.next()[1] == "new_order"


@pytest.mark.parametrize("seen", ["9" * 5000, "-1", "x", "１"])
def test_an_invented_position_is_as_good_as_none(seen: str, server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/?last_event_id={quote(seen)}", mei) as stream:
        assert stream.next()[0] == "1"


def test_a_customer_hears_that_the_money_is_back(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.paid(mei, stall)
    services.cancel(order_id=order_id, user_id=mei.id, reason="点错了")
    with listening(server, f"orders/{order_id}/events/", mei, Last_Event_ID="3") as stream:
        in_a_moment(factories.settle)
        number, kind, data = stream.next()
    assert (number, kind, data["payment_status"]) == ("4", "update", "refunded")


# --- who may go on reading ---


def end_of(stream: Stream) -> str:
    """All that comes until the server hangs up."""
    return stream.answer.read().decode()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again at once who may read, and a stream would otherwise go on for long."""
    monkeypatch.setattr(live, "CHECK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(live, "HEARTBEAT_AFTER_SECONDS", 0.05)


def log_out(who: Person) -> None:
    LoginSession.objects.filter(user=who.user).update(ended_at=timezone.now())


def switch_off(who: Person) -> None:
    accounts.services.set_active(user_ids=[who.id], active=False)


def change_password(who: Person) -> None:
    who.user.set_password("another-treasure-9")
    who.user.save(update_fields=["password"])


@pytest.mark.parametrize("end", [log_out, switch_off, change_password])
def test_a_stream_ends_with_its_login(server: Server, mei: Person, stall: Stall, often: None, end: Any) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", mei) as stream:
        stream.next()
        end(mei)
        end_of(stream)


@pytest.mark.parametrize("end", [log_out, switch_off])
def test_so_does_the_boards(server: Server, lan: Person, often: None, end: Any) -> None:
    with listening(server, "staff/events/", lan) as stream:
        end(lan)
        end_of(stream)


def test_who_leaves_a_shop_leaves_its_board(server: Server, lan: Person, often: None) -> None:
    with listening(server, "staff/events/", lan) as stream:
        Membership.objects.filter(user=lan.user).delete()
        end_of(stream)


def test_who_may_stays(server: Server, mei: Person, stall: Stall, often: None) -> None:
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", mei) as stream:
        stream.next()
        in_a_moment(lambda: services.cancel(order_id=order_id, user_id=mei.id, reason="点错了"))
        assert stream.next()[2]["status"] == "cancelled"


# --- tickets ---


def test_a_ticket_opens_a_stream_where_no_header_can_be_sent(server: Server, mei: Person, stall: Stall) -> None:
    order_id = factories.placed(mei, stall)
    answer = mei.api.post("auth/live-ticket/")
    ticket, seconds = json.loads(answer.content)["ticket"], json.loads(answer.content)["expires_in"]
    assert (answer.status_code, seconds, answer.headers["Cache-Control"]) == (201, 60, "no-store")
    with listening(server, f"orders/{order_id}/events/?ticket={quote(ticket)}", None) as stream:
        assert stream.next()[2]["status"] == "pending_payment"


def test_a_ticket_is_its_owners_and_for_a_minute(
    server: Server, mei: Person, tao: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = factories.placed(mei, stall)
    mine, others = (json.loads(who.api.post("auth/live-ticket/").content)["ticket"] for who in (mei, tao))
    for ticket, status in ((others, 404), (mine + "x", 401), ("", 401)):
        with listening(server, f"orders/{order_id}/events/?ticket={quote(ticket)}", None) as stream:
            assert stream.status == status
    monkeypatch.setattr("accounts.live_tickets.GOOD_FOR_SECONDS", -1)
    with listening(server, f"orders/{order_id}/events/?ticket={quote(mine)}", None) as stream:
        assert stream.status == 401


def test_a_tickets_stream_ends_with_its_login(server: Server, lan: Person, often: None) -> None:
    ticket = json.loads(lan.api.post("auth/live-ticket/").content)["ticket"]
    with listening(server, f"staff/events/?ticket={quote(ticket)}", None) as stream:
        assert stream.status == 200
        log_out(lan)
        end_of(stream)
    with listening(server, f"staff/events/?ticket={quote(ticket)}", None) as stream:
        assert stream.status == 401


def test_nobody_takes_all_the_streams(
    server: Server, mei: Person, tao: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS_OF_ONE", 2)
    mine, others = factories.placed(mei, stall), factories.placed(tao, stall, key="tao")
    path = f"orders/{mine}/events/"
    with listening(server, path, mei) as one, listening(server, path, mei) as two:
        assert (one.next()[0], two.next()[0]) == ("1", "1")
        with listening(server, path, mei) as third:
            assert (third.status, third.problem()["code"]) == (429, "rate_limited")
        with listening(server, f"orders/{others}/events/", tao) as stream:
            assert stream.status == 200


def test_all_streams_of_a_shard_ask_together(
    server: Server, mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    take = watching._Group.take

    def counted(group: Any, found: dict[int, object]) -> None:
        asked.append(len(found))
        take(group, found)

    monkeypatch.setattr(watching._Group, "take", counted)
    orders = [factories.placed(mei, stall, key=str(n)) for n in range(3)]
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(server, f"orders/{each}/events/", mei)) for each in orders]
        assert [stream.next()[0] for stream in streams] == ["1", "1", "1"]
        services.cancel(order_id=orders[1], user_id=mei.id)
        assert streams[1].next()[2]["status"] == "cancelled"
    assert max(asked) == 3


def test_an_outage_of_the_database_ends_no_stream(
    server: Server, mei: Person, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_AFTER_SECONDS", 0.2)
    order_id = factories.placed(mei, stall)
    with listening(server, f"orders/{order_id}/events/", mei) as stream:
        assert stream.next()[0] == "1"
        with factories.down(mei.shard):
            time.sleep(1.5)
        services.cancel(order_id=order_id, user_id=mei.id)
        assert stream.next()[2]["status"] == "cancelled"


def test_a_process_that_stops_ends_its_streams_at_once(
    stall: Stall, mei: Person, web_processes: Callable[..., WebProcess], capfd: pytest.CaptureFixture[str]
) -> None:
    order_id = factories.placed(mei, stall)
    web = web_processes()
    url = f"{web.url}/api/v1/orders/{order_id}/events/"
    with requests.get(url, headers=mei.api.headers, stream=True, timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == b"retry: 2000"
        began = time.monotonic()
        web.process.terminate()
        # The answer comes to its end, and isn't cut off.
        list(lines)
        assert web.process.wait(10) is not None
    assert time.monotonic() - began < GRACE_SECONDS
    assert "Cancel" not in capfd.readouterr().err
