"""Old months to files and back, on a MariaDB of their own: to the row, killed anywhere, with every file damaged."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import F

import menu.services
import orders.desk.services
from accounts.models import ClosedAccount
from orders import erasing, services
from orders.desk.models import DeskOrder
from orders.models import Order, Saga
from payments.models import LedgerEntry, Payment, Refund
from payments.providers import sandbox
from tests.accounts.factories import PASSWORD, SERVER, problem, read
from tests.factories import (
    Crash,
    accepted,
    audit,
    capture,
    completed,
    numbers,
    order,
    orders_of,
    overdue,
    paid,
    placed,
    settle,
    start_payment,
    wish,
)
from tests.support import months
from tests.support.fleet import Fleet
from tests.support.months import Town, this_month
from waimai.infra import archive, archive_files, ids, partitions, sharding
from waimai.infra.archive import Refused
from waimai.infra.archive_files import Damaged, Manifest
from waimai.infra.archive_rows import Slice
from waimai.infra.models import Timer
from waimai.infra.months import Month

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.services("mariadbd", "redis-server")]


@pytest.fixture(autouse=True)
def town(fleet: Fleet) -> Town:
    """Somebody who orders, and a shop that has been there for half a year."""
    now = this_month()
    months.have_months(now.plus(-6).until(now.plus(3)))
    return Town.make()


@pytest.fixture
def tmp_path(own_folder: Path) -> Path:
    """In memory, as every file is waited for until it is on the disk."""
    return Path(tempfile.mkdtemp(dir=own_folder))


def evening(town: Town, month: Month, tag: str = "k") -> dict[str, int]:
    """An evening of a month, all of it over: completed, refunded and expired orders, limited ones too."""
    menu.services.set_stock(item_id=town.stall.tofu, available=50)
    with months.ids_made_in(month):
        made = {
            "completed": completed(town.mei, town.stall, town.lan, key=f"{tag}-1"),
            "refunded": paid(town.mei, town.stall, (town.stall.tofu, 2), key=f"{tag}-2"),
            "expired": placed(town.tao, town.stall, key=f"{tag}-3"),
            "limited": completed(town.tao, town.stall, town.lan, (town.stall.tofu, 3), key=f"{tag}-4"),
            "amended": accepted(town.tao, town.stall, town.lan, (town.stall.fish, 2), key=f"{tag}-5"),
        }
        amend(made["amended"], town)
        services.cancel(order_id=made["refunded"], user_id=town.mei.id)
        overdue(made["expired"])
        calm_down()
    return made


def amend(order_id: int, town: Town) -> None:
    """A fish less, as the customer agreed; then it is brought."""
    for n, accept in ((1, False), (2, True)):
        services.propose_amendment(
            order_id=order_id, staff_id=town.lan.id, line=1, quantity=1, replacement=None, reason="鱼卖完了"
        )
        services.answer_amendment(order_id=order_id, user_id=town.tao.id, n=n, accept=accept)
    services.deliver(order_id=order_id, staff_id=town.lan.id)
    services.complete(order_id=order_id, staff_id=town.lan.id)


def calm_down() -> None:
    """Everything is done that can be; the bank would call us of its refunds, but no web process is there to answer."""
    settle()
    for alias in sharding.shards():
        Timer.objects.on(alias).filter(kind=sandbox.NOTIFY).delete()


def out(folder: Path, before: Month | None = None) -> list[str]:
    return list(archive.archive(before or this_month().plus(-3), folder))


def back(folder: Path, only: Month | None = None) -> list[str]:
    return list(archive.restore(folder, only))


def test_two_months_go_to_files_and_come_back_to_the_row(town: Town, tmp_path: Path) -> None:
    now = this_month()
    made = evening(town, now.plus(-6), "a") | {f"{k}-5": n for k, n in evening(town, now.plus(-5), "b").items()}
    living = completed(town.mei, town.stall, town.lan, key="new")
    settle()
    before = months.everything()
    assert audit() == []
    out(tmp_path)
    assert audit() == []
    assert (orders_of(town.mei), orders_of(town.tao)) == ([living], [])
    assert not Saga.objects.on("orders_0").filter(order_id__in=made.values()).exists()
    assert not Refund.objects.on("orders_0").exists()
    assert months.names(Order, "orders_0")[0] == partitions.name_of(now.plus(-4))
    assert archive.oldest_living_id() == now.plus(-3).lowest_id
    back(tmp_path)
    assert months.everything() == before
    assert (months.misplaced(), audit()) == ([], [])
    assert archive.oldest_living_id() == now.plus(-6).lowest_id


def test_who_left_meanwhile_is_erased_from_what_comes_back(town: Town, tmp_path: Path) -> None:
    eaten = evening(town, this_month().plus(-6))["completed"]
    out(tmp_path)
    town.mei.user.set_password(PASSWORD)
    town.mei.user.save()
    services.close_account(user_id=town.mei.id, address=SERVER, current_password=PASSWORD)
    ClosedAccount.objects.update(closed_at=F("closed_at") - timedelta(minutes=2))
    assert erasing.erase_closed() == 0
    settle()
    assert DeskOrder.objects.get(order_id=eaten).phone == ""
    back(tmp_path)
    assert order(eaten).phone != ""
    assert erasing.erase_closed() == 2
    settle()
    assert (order(eaten).phone, audit()) == ("", [])


def test_twice_is_harmless_both_ways(town: Town, tmp_path: Path) -> None:
    evening(town, this_month().plus(-5))
    before = months.everything()
    out(tmp_path)
    gone, files = months.everything(), contents(tmp_path)
    out(tmp_path)
    assert (months.everything(), contents(tmp_path)) == (gone, files)
    back(tmp_path)
    back(tmp_path)
    assert months.everything() == before
    out(tmp_path)
    assert (months.everything(), audit()) == (gone, [])


def test_one_month_comes_back_to_be_looked_at(town: Town, tmp_path: Path) -> None:
    now = this_month()
    old, older = evening(town, now.plus(-5), "a"), evening(town, now.plus(-6), "b")
    out(tmp_path)
    back(tmp_path, now.plus(-6))
    assert order(older["completed"]).status == "completed"
    assert not Order.objects.by_id(old["completed"]).exists()
    # The mark stays: the month after it is still away.
    assert archive.oldest_living_id() == now.plus(-3).lowest_id
    assert (months.misplaced(), audit()) == ([], [])
    out(tmp_path)
    assert not Order.objects.by_id(older["completed"]).exists()
    back(tmp_path)
    assert (months.misplaced(), audit()) == ([], [])


def test_what_people_find_of_an_archived_order(town: Town, tmp_path: Path) -> None:
    gone = evening(town, this_month().plus(-5))["completed"]
    out(tmp_path)
    for path in (f"orders/{gone}/", "orders/?page_size=5"):
        assert town.mei.api.get(path).status_code == (404 if str(gone) in path else 200)
    assert numbers(read(town.mei.api.get("orders/"))["results"]) == []
    # A key is forgotten after a week. One that wasn't stands for something that isn't there: no second order.
    assert problem(town.mei.api.post("orders/", wish(town.mei, town.stall), idempotency_key="k-1")) == (
        404,
        "not_found",
    )
    answer = town.mei.api.post(f"orders/{gone}/pay/", {"provider": "sandbox"}, idempotency_key=f"pay-{gone}")
    assert problem(answer) == (404, "not_found")
    assert problem(town.mei.api.post(f"orders/{gone}/reorder/")) == (404, "not_found")
    assert DeskOrder.objects.get(order_id=gone).status == "completed"
    orders.desk.services.rebuild()
    assert DeskOrder.objects.filter(order_id=gone).exists()
    assert audit() == []


def test_an_order_that_straddles_the_months_end(town: Town, tmp_path: Path) -> None:
    """Placed at 23:59, paid at 00:01: its order goes with the one month, its payment and entry with the next."""
    month = this_month().plus(-4)
    last_minute = timedelta(seconds=(month.below - month.lowest_id >> ids.SECONDS_SHIFT) - 60)
    with months.ids_made_in(month, after=last_minute):
        order_id = placed(town.mei, town.stall)
    with months.ids_made_in(month.plus(1), after=timedelta(seconds=60)):
        capture(payment := start_payment(order_id))
        services.cancel(order_id=order_id, user_id=town.mei.id)
        calm_down()
    before = months.everything()
    out(tmp_path)
    assert not Order.objects.by_id(order_id).exists()
    assert Payment.objects.by_id(payment).exists()
    assert LedgerEntry.objects.of_order(order_id).count() == 2
    assert audit() == []
    back(tmp_path)
    assert (months.everything(), audit()) == (before, [])


@pytest.mark.parametrize("age", [2, 1, 0, -1])
def test_young_months_stay(age: int, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the last 3 whole months stay"):
        out(tmp_path, this_month().plus(-age))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_over_stays_and_is_named(town: Town, tmp_path: Path) -> None:
    month = this_month().plus(-5)
    made = evening(town, month)
    before = months.everything()
    living = Order.objects.on("orders_0")
    cases: list[tuple[Any, str, dict[str, Any], str]] = [
        (living.filter(pk=made["completed"]), "status", {"status": "delivering"}, f"order {made['completed']} is"),
        (living.filter(pk=made["refunded"]), "payment_status", {"payment_status": "refunding"}, "is refunding"),
        (
            Refund.objects.on("orders_0").all(),
            "status",
            {"status": "pending"},
            f"of order {made['refunded']} is pending",
        ),
        (Payment.objects.on("orders_0").all(), "status", {"status": "pending"}, "is pending"),
        (Saga.objects.on("orders_0").all(), "state", {"state": "stuck"}, "is stuck"),
    ]
    for rows, column, change, expected in cases:
        kept = dict(rows.values_list("pk", column))
        rows.update(**change)
        with pytest.raises(CommandError, match=expected):
            call_command("partitions", "archive", "--before", str(month.plus(1)), "--to", str(tmp_path))
        for key, value in kept.items():
            rows.model.objects.on("orders_0").filter(pk=key).update(**{column: value})
    assert months.everything() == before
    assert list(tmp_path.iterdir()) == []
    out(tmp_path)


def test_money_of_a_younger_order_keeps_its_month(town: Town, tmp_path: Path) -> None:
    """A clock was put right: the payment carries a second before its order's, and that lies in the month before."""
    month = this_month().plus(-4)
    with months.ids_made_in(month.plus(1), after=timedelta(seconds=1)):
        order_id = placed(town.mei, town.stall)
    last_second = timedelta(seconds=(month.below - month.lowest_id >> ids.SECONDS_SHIFT) - 9)
    with months.ids_made_in(month, after=last_second):
        capture(start_payment(order_id))
        services.cancel(order_id=order_id, user_id=town.mei.id)
        calm_down()
    with pytest.raises(Refused, match=f"its order {order_id} is of a later month"):
        out(tmp_path)
    assert audit() == []


# --- killed ---


@contextmanager
def killed_before(owner: Any, name: str, nth: int) -> Iterator[None]:
    """The process dies right before it calls `owner.name` for the n-th time, if it comes to that."""
    original, calls = getattr(owner, name), iter(range(1, 10**6))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == nth:
            raise Crash
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield


def dies(action: Callable[[], object]) -> bool:
    try:
        action()
    except Crash:
        return True
    return False


POINTS_OUT = [
    (archive_files, "write", 3),
    (Path, "replace", 2),
    (Manifest, "save", 2),
    (archive_files, "verify", 2),
    (archive, "_move_mark", 1),
    (partitions, "_alter", 1),
    (partitions, "_alter", 7),
    (Slice, "delete", 1),
    (archive, "_move_mark", 2),
]
POINTS_BACK = [
    (partitions, "_alter", 2),
    (Slice, "put_back", 1),
    (Slice, "put_back", 7),
    (archive, "_move_mark", 1),
]


def test_killed_anywhere_and_run_again(town: Town, tmp_path: Path) -> None:
    """Whatever was dropped is in the files, the audit is clean at every moment, and in the end all is as it was."""
    month = this_month().plus(-5)
    months.have_months(month.until(this_month().plus(3)))
    evening(town, month)
    before, end = months.everything(), month.plus(2)
    for number, point in enumerate(POINTS_OUT):
        folder = tmp_path / str(number)
        with killed_before(*point):
            assert dies(lambda folder=folder: out(folder, end)), point  # type: ignore[misc]
        assert audit() == [], point
        out(folder, end)
        assert months.count(months.everything()) == 0, point
        back(folder)
        assert months.everything() == before, point
    for point in POINTS_BACK:
        out(tmp_path / "back", end)
        with killed_before(*point):
            assert dies(lambda: back(tmp_path / "back")), point
        assert audit() == [], point
        back(tmp_path / "back")
        assert months.everything() == before, point
    assert audit() == []


def test_half_restored_is_not_archived_over_the_whole(town: Town, tmp_path: Path) -> None:
    month = this_month().plus(-5)
    evening(town, month)
    before = months.everything()
    out(tmp_path)
    with killed_before(Slice, "put_back", 4):
        assert dies(lambda: back(tmp_path))
    with connections["orders_0"].cursor() as cursor:
        cursor.execute("DELETE FROM orders_order LIMIT 1")
    files = contents(tmp_path)
    with pytest.raises(Refused, match="is not what was archived"):
        out(tmp_path)
    assert contents(tmp_path) == files
    back(tmp_path)
    assert (months.everything(), audit()) == (before, [])


def test_another_folder_is_not_taken_for_the_archive(town: Town, tmp_path: Path) -> None:
    evening(town, this_month().plus(-5))
    with killed_before(partitions, "_alter", 2):
        assert dies(lambda: out(tmp_path / "one"))
    with pytest.raises(Refused, match="was archived before, and its files are not to be had"):
        out(tmp_path / "other")
    out(tmp_path / "one")
    assert audit() == []


# --- damaged ---


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def other_count(path: Path) -> None:
    manifest = json.loads((path.parent / archive_files.MANIFEST).read_text())
    for table in manifest["tables"]:
        table["rows"] += table["table"] in path.name
    (path.parent / archive_files.MANIFEST).write_text(json.dumps(manifest))


def no_manifest(path: Path) -> None:
    (path.parent / archive_files.MANIFEST).write_text("{")


def test_damaged_files_change_nothing(town: Town, tmp_path: Path) -> None:
    month = this_month().plus(-5)
    evening(town, month)
    whole = tmp_path / "whole"
    out(whole)
    gone = months.everything()
    damages: list[Callable[[Path], None]] = [flip, shorten, Path.unlink, other_count, no_manifest]
    for number, damage in enumerate(damages):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        path = folder / "orders_1" / str(month) / "orders_orderline.jsonl.gz"
        damage(path)
        with pytest.raises(Damaged, match=str(path.parent)):
            back(folder)
        with pytest.raises(CommandError, match=str(path.parent)):
            call_command("partitions", "restore", str(folder))
        assert months.everything() == gone, damage
    back(whole)
    assert audit() == []


def test_users_who_moved_are_not_restored_to_where_they_were(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evening(town, this_month().plus(-5))
    out(tmp_path)
    gone = months.everything()
    monkeypatch.setattr(sharding, "buckets_of", lambda alias: frozenset())
    with pytest.raises(Refused, match="live on other shards"):
        back(tmp_path)
    assert months.everything() == gone


def test_a_folder_without_an_archive(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no archive"):
        call_command("partitions", "restore", str(tmp_path))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of an archive; when it was made is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != archive_files.MANIFEST
    }
