"""Our ledger against the sandbox's own books: each difference is made for real, in one set of books or the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from payments import services
from payments.models import LedgerEntry, Payment, PaymentAlert, Refund, SandboxCharge, SandboxRefund
from payments.providers import sandbox, sandbox_statement
from payments.providers.base import Charge, ProviderUnavailable, RefundCall, StatementRow
from payments.providers.sandbox import Fault, Sandbox
from payments.services import Reconciliation, reconciling
from payments.services.refunding import SEND
from payments.tasks import reconcile_yesterday
from tests.payments.factories import (
    MEI,
    PRICE,
    TAO,
    alerts,
    ask_refund,
    at_once,
    captured,
    fire,
    new_order,
    notice,
    pending,
    receive,
    row,
)
from waimai.celery import app
from waimai.infra import sharding
from waimai.infra.clock import db_now
from waimai.infra.errors import NotFound
from waimai.infra.models import ArchiveMark, OutboxMessage, Timer

pytestmark = pytest.mark.data
SHARD = sharding.shard_of_user
SIX = Decimal("6.00")


def reconcile(since: datetime | None = None, until: datetime | None = None) -> Reconciliation:
    """Compare the last and the next hour."""
    now = db_now(SHARD(MEI))
    since, until = since or now - timedelta(hours=1), until or now + timedelta(hours=1)
    return services.reconcile(provider="sandbox", since=since, until=until)


def differences() -> list[tuple[str, str, int, str, str]]:
    """(kind, movement, number, the provider's amount, ours) of each."""
    return [
        (found.kind.value, found.movement, found.number, str(found.theirs), str(found.ours))
        for found in reconcile().differences
    ]


def refunded(payment: Payment, amount: Decimal = SIX) -> int:
    """A refund that both sides know."""
    refund_id = ask_refund(payment, amount) or 0
    fire(SEND, refund_id)
    return refund_id


def given_back_at_the_provider(payment: Payment, amount: Decimal = SIX) -> int:
    """Somebody gave money back in the provider's own console."""
    number = new_order()
    call = RefundCall(
        refund_id=number, payment_id=payment.id, transaction_id="", amount=amount, total=payment.amount, reason=""
    )
    assert Sandbox().refund(call)
    return number


def paid_unnoticed(*, late: bool) -> Payment:
    """The payer paid; the webhook was lost and nobody polls."""
    payment = pending()
    notice(payment.id)
    Timer.objects.on(SHARD(MEI)).all().delete()
    if late:
        Payment.objects.by_id(payment.id).update(expires_at=payment.created_at - timedelta(minutes=11))
    return payment


def at_the_provider(payment_id: int, **changes: Any) -> None:
    """Their books say something else."""
    assert SandboxCharge.objects.by_id(payment_id).update(**changes) == 1


def booked_at(number: int, moment: datetime) -> None:
    rows = LedgerEntry._base_manager.using(sharding.shard_of_id(number)).filter(pk=number)
    assert rows.update(created_at=moment) == 1


# --- a clean day ---


def test_a_clean_day_has_no_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "BATCH", 2)
    for number in range(3):
        refunded(captured(key=str(number)))
        captured(user_id=TAO, key=str(number))
    pending(key="open")
    receive(pending(key="failed").id, "failure")
    ask_refund(captured(key="asked"))
    found = reconcile()
    assert (found.differences, found.under_way, found.explained) == ([], 0, 0)
    assert found.theirs == found.ours
    assert (found.ours.charges, found.ours.charged) == (7, 7 * PRICE)
    assert (found.ours.refunds, found.ours.refunded) == (3, 3 * SIX)


def test_a_day_without_money_is_clean() -> None:
    found = reconcile()
    assert (found.differences, found.theirs.charges, found.ours.charges) == ([], 0, 0)


# --- at the provider only ---


def test_a_capture_that_nobody_noticed() -> None:
    payment = paid_unnoticed(late=True)
    assert differences() == [("state_differs", "charge", payment.id, "56.00", "None")]
    assert reconcile().differences[0].note == ", pending at 56.00 with us"


def test_asking_by_command_mends_it() -> None:
    payment = paid_unnoticed(late=True)
    said = StringIO()
    call_command("payments", "poll", str(payment.id), stdout=said)
    assert said.getvalue() == f"payment {payment.id}: captured\n"
    assert differences() == []


def test_a_capture_that_our_poller_will_find_is_under_way() -> None:
    paid_unnoticed(late=False)
    found = reconcile()
    assert (found.differences, found.under_way) == ([], 1)
    assert (found.theirs.charged, found.ours.charged) == (PRICE, 0)


def test_a_capture_after_we_called_it_failed() -> None:
    payment = pending()
    receive(payment.id, "failure")
    notice(payment.id)
    Payment.objects.by_id(payment.id).update(expires_at=payment.created_at - timedelta(minutes=11))
    assert differences() == [("state_differs", "charge", payment.id, "56.00", "None")]


def test_a_charge_that_we_never_asked_for() -> None:
    number = new_order()
    now = db_now(SHARD(MEI))
    Sandbox().create(Charge(payment_id=number, amount=PRICE, description="", expires_at=now))
    sandbox.tell(number, "success")
    assert differences() == [("provider_only", "charge", number, "56.00", "None")]
    assert alerts(number) == ["provider_only"]


def test_a_refund_in_the_providers_console() -> None:
    payment = captured()
    number = given_back_at_the_provider(payment)
    assert differences() == [("provider_only", "refund", number, "-6.00", "None")]
    assert alerts(payment.id) == ["provider_only"]


def test_a_refund_whose_answer_was_lost_and_that_nobody_sends_again() -> None:
    refund_id = ask_refund(captured()) or 0
    sandbox.fail_next("refund", near=refund_id, mode=Fault.LOST_ANSWER)
    fire(SEND, refund_id)
    assert (reconcile().under_way, differences()) == (1, [])
    Refund.objects.by_id(refund_id).update(created_at=db_now(SHARD(MEI)) - timedelta(minutes=31))
    assert differences() == [("state_differs", "refund", refund_id, "-56.00", "None")]
    fire(SEND, refund_id)
    assert differences() == []


def test_a_payment_charged_by_a_second_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = captured()
    original = sandbox_statement.rows

    def rows(since: datetime, until: datetime) -> Iterator[StatementRow]:
        for line in original(since, until):
            values = {name: getattr(line, name) for name in ("kind", "number", "payment_id", "amount", "at")}
            yield from (line, StatementRow(**values, transaction_id="SB-AGAIN"))

    monkeypatch.setattr(sandbox_statement, "rows", rows)
    (found,) = reconcile().differences
    assert (found.kind.value, found.number, found.reference) == ("provider_only", payment.id, "SB-AGAIN")


def test_a_line_that_stands_twice_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = captured()
    original = sandbox_statement.rows
    monkeypatch.setattr(sandbox_statement, "rows", lambda since, until: [*original(since, until)] * 2)
    assert differences() == [("provider_only", "charge", payment.id, "56.00", "None")]


# --- with us only ---


def test_a_charge_that_the_provider_does_not_know() -> None:
    payment = captured()
    at_the_provider(payment.id, state="open", captured_at=None)
    assert differences() == [("ours_only", "charge", payment.id, "None", "56.00")]
    assert alerts(payment.id) == ["ours_only"]


def test_a_refund_that_the_provider_does_not_know() -> None:
    payment = captured()
    refund_id = refunded(payment)
    SandboxRefund.objects.on(SHARD(MEI)).all().delete()
    assert differences() == [("ours_only", "refund", refund_id, "None", "-6.00")]


def test_another_transaction_is_both() -> None:
    payment = captured()
    at_the_provider(payment.id, transaction_id="SB-OTHER")
    assert sorted(differences()) == [
        ("ours_only", "charge", payment.id, "None", "56.00"),
        ("provider_only", "charge", payment.id, "56.00", "None"),
    ]


# --- on both sides, but not the same ---


def test_a_charge_of_another_amount() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    assert differences() == [("amount_differs", "charge", payment.id, "55.00", "56.00")]
    found = reconcile()
    assert (found.theirs.charged, found.ours.charged) == (Decimal("55.00"), PRICE)


def test_a_refund_of_another_amount() -> None:
    refund_id = refunded(captured())
    SandboxRefund.objects.by_id(refund_id).update(amount=Decimal("7.00"))
    assert differences() == [("amount_differs", "refund", refund_id, "-7.00", "-6.00")]


def test_every_difference_of_a_day_is_listed_on_every_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "BATCH", 2)
    wrong = [captured(user_id=user_id, key=str(number)) for number in range(3) for user_id in (MEI, TAO)]
    captured(key="right")
    for payment in wrong:
        at_the_provider(payment.id, amount=Decimal("1.00"))
    assert sorted(found[2] for found in differences()) == sorted(payment.id for payment in wrong)


# --- the edges of a day ---


def test_money_taken_before_midnight_and_noticed_after_it_is_no_difference() -> None:
    payment, midnight = captured(), db_now(SHARD(MEI))
    second, day = timedelta(seconds=1), timedelta(days=1)
    at_the_provider(payment.id, captured_at=midnight - second)
    booked_at(payment.id, midnight + second)
    for since, until in ((midnight - day, midnight), (midnight, midnight + day)):
        assert reconcile(since, until).differences == []
    assert reconcile(midnight - day, midnight).ours.charges == 1
    assert reconcile(midnight, midnight + day).theirs.charges == 0


def test_money_noticed_three_days_late_is_no_difference() -> None:
    payment = captured()
    late = db_now(SHARD(MEI)) + timedelta(days=3)
    booked_at(payment.id, late)
    assert differences() == []
    assert reconcile(late - timedelta(hours=1), late + timedelta(hours=1)).differences == []
    at_the_provider(payment.id, state="open", captured_at=None)
    (found,) = reconcile(late - timedelta(hours=1), late + timedelta(hours=1)).differences
    assert (found.kind.value, found.number) == ("ours_only", payment.id)


def test_a_provider_whose_clock_is_ahead_is_no_difference() -> None:
    payment = captured()
    until = db_now(SHARD(MEI))
    at_the_provider(payment.id, captured_at=until + timedelta(minutes=50))
    assert reconcile(until=until).differences == []


def test_money_of_other_days_is_not_looked_at() -> None:
    at_the_provider(captured().id, amount=Decimal("1.00"))
    now = db_now(SHARD(MEI))
    assert reconcile(now - timedelta(days=2), now - timedelta(days=1)).differences == []


def test_what_is_in_the_archive_is_passed_over() -> None:
    old = captured()
    refunded(old)
    LedgerEntry._base_manager.using(SHARD(MEI)).filter(kind="charge").delete()
    new = captured(user_id=TAO)
    assert len(differences()) == 1
    ArchiveMark.objects.create(id=1, below=max(old.id, new.id) + 1)
    found = reconcile()
    assert (found.differences, found.theirs.charges, found.ours.charges) == ([], 0, 0)


# --- what people have explained ---


def test_a_refund_in_the_console_is_explained_by_hand() -> None:
    payment = captured()
    number = given_back_at_the_provider(payment)
    words = {"actor": "lan", "reason": "顾客来电"}
    services.adjust(payment_id=payment.id, amount=-SIX, reference=f"SBR{number}", **words)
    found = reconcile()
    assert (found.differences, found.explained) == ([], 1)
    assert found.theirs == found.ours


def test_another_amount_is_explained_by_hand() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    words = {"actor": "lan", "reason": "渠道优惠", "reference": f"SB{payment.id}"}
    services.adjust(payment_id=payment.id, amount=Decimal("-0.40"), **words)
    assert len(differences()) == 1  # Not all of it.
    services.adjust(payment_id=payment.id, amount=Decimal("-0.60"), **words)
    found = reconcile()
    assert (found.differences, found.explained) == ([], 1)
    assert found.theirs == found.ours


def test_what_the_provider_never_had_is_written_off_by_hand() -> None:
    payment = captured()
    at_the_provider(payment.id, state="open", captured_at=None)
    words = {"actor": "lan", "reason": "坏账", "reference": f"SB{payment.id}"}
    services.adjust(payment_id=payment.id, amount=-PRICE, **words)
    found = reconcile()
    assert (found.differences, found.explained) == ([], 1)
    assert found.theirs == found.ours


def test_another_amount_than_asked_for_and_its_return_are_explained_by_hand() -> None:
    payment = pending()
    at_the_provider(payment.id, amount=Decimal("1.00"))
    receive(payment.id)
    Payment.objects.by_id(payment.id).update(status="closed", expires_at=payment.created_at - timedelta(minutes=11))
    number = given_back_at_the_provider(payment, Decimal("1.00"))
    assert sorted(differences()) == [
        ("provider_only", "refund", number, "-1.00", "None"),
        ("state_differs", "charge", payment.id, "1.00", "None"),
    ]
    words = {"actor": "lan", "reason": "金额不符"}
    services.adjust(payment_id=payment.id, amount=Decimal("1.00"), reference=f"SB{payment.id}", **words)
    services.adjust(payment_id=payment.id, amount=Decimal("-1.00"), reference=f"SBR{number}", **words)
    found = reconcile()
    assert (found.differences, found.explained) == ([], 2)
    assert found.theirs == found.ours
    assert services.payment_problems(SHARD(MEI)) == []


# --- what it leaves behind ---


def test_a_difference_is_alerted_once() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    reconcile()
    reconcile()
    assert alerts(payment.id) == ["amount_differs"]
    at_the_provider(payment.id, amount=Decimal("54.00"))
    reconcile()
    assert alerts(payment.id) == ["amount_differs"] * 2
    detail = PaymentAlert.objects.on(SHARD(MEI)).earliest("id").detail
    assert detail == f"charge {payment.id} (SB{payment.id}): provider 55.00, ours 56.00"


def test_a_difference_found_by_three_at_once_is_alerted_once() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    found = at_once(*[reconcile] * 3)
    assert all(isinstance(result, Reconciliation) for result in found)
    assert alerts(payment.id) == ["amount_differs"]


def test_nothing_else_is_written() -> None:
    payment = paid_unnoticed(late=True)
    tables: Any = (Payment, Refund, LedgerEntry, SandboxCharge, SandboxRefund, Timer, OutboxMessage)

    def everything() -> list[Any]:
        return [list(table.objects.on(SHARD(MEI)).order_by("pk").values()) for table in tables]

    before = everything()
    assert len(differences()) == 1
    assert everything() == before
    assert row(payment.id).status == "pending"


# --- by command, and every day ---


def command(*words: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    said = StringIO()
    try:
        call_command("payments", "reconcile", *words, stdout=said)
    except CommandError as error:
        return error.returncode, said.getvalue()
    return 0, said.getvalue()


def today() -> str:
    return f"{timezone.localtime(db_now('default')):%F}"


def test_a_clean_day_is_exit_status_0() -> None:
    refunded(captured())
    status, said = command("--date", today())
    assert status == 0
    lines = said.splitlines()
    assert lines[0].startswith(f"sandbox, {today()} 00:00:00 to ")
    assert lines[1:] == [
        "provider: 1 charges 56.00, 1 refunds 6.00",
        "ours: 1 charges 56.00, 1 refunds 6.00",
        "0 differences, 0 under way, 0 explained by adjustments",
    ]


def test_differences_are_exit_status_1() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    status, said = command("--provider", "sandbox", "--date", today())
    assert status == 1
    line = f"amount_differs charge {payment.id} (SB{payment.id}): provider 55.00, ours 56.00"
    assert line in said.splitlines()


def test_the_same_in_json() -> None:
    payment = captured()
    at_the_provider(payment.id, amount=Decimal("55.00"))
    status, said = command("--json", "--date", today())
    (document,) = json.loads(said)
    assert (status, document["ok"], document["provider"]) == (1, False, "sandbox")
    (found,) = document["differences"]
    assert (found["kind"], found["number"], found["theirs"], found["ours"]) == (
        "amount_differs",
        payment.id,
        "55.00",
        "56.00",
    )
    assert (document["theirs"]["charged"], document["ours"]["charged"]) == ("55.00", "56.00")


def test_yesterday_unless_told() -> None:
    at_the_provider(captured().id, captured_at=db_now("default") - timedelta(days=1), amount=Decimal("1.00"))
    assert command()[0] == 1
    assert f"{timezone.localtime(db_now('default')) - timedelta(days=1):%F} 00:00:00" in command()[1]


def test_a_period_by_its_ends() -> None:
    captured()
    now = db_now("default")
    status, said = command("--since", f"{now - timedelta(hours=1):%FT%TZ}", "--until", f"{now:%FT%T}+00:00")
    assert status == 0
    assert "0 differences" in said


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "2026-11-30T12:00"),
        ("--date", "2026-11-30", "--since", "2026-11-30T12:00", "--until", "2026-11-30T13:00"),
        ("--since", "2026-11-30T12:00", "--until", "2026-11-30T12:00"),
        ("--date", "yesterday"),
        ("--date", "2026-02-30"),
        ("--since", "noon", "--until", "2026-11-30T12:00"),
        ("--provider", "piggybank"),
    ],
)
def test_a_period_that_is_none_is_refused(words: tuple[str, ...]) -> None:
    assert command(*words)[0] == 1


def no_statement(since: datetime, until: datetime) -> list[StatementRow]:
    raise ProviderUnavailable("comes at ten")


def test_no_statement_is_exit_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_statement, "rows", no_statement)
    assert command() == (2, "")


def test_an_unknown_provider_is_not_found() -> None:
    now = db_now("default")
    with pytest.raises(NotFound):
        services.reconcile(provider="piggybank", since=now, until=now)


def test_every_day_yesterday_is_reconciled() -> None:
    payment = captured()
    at_the_provider(payment.id, captured_at=db_now("default") - timedelta(days=1), amount=Decimal("1.00"))
    assert reconcile_yesterday() == 1
    assert alerts(payment.id) == ["amount_differs"]
    app.loader.import_default_modules()
    assert settings.CELERY_BEAT_SCHEDULE["reconcile_yesterday"]["task"] in app.tasks


def test_a_day_without_statement_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_statement, "rows", no_statement)
    assert reconcile_yesterday() == 0
