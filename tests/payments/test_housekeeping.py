from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from payments import services
from payments.models import WebhookReceipt
from payments.services import housekeeping
from tests.payments.factories import MEI, captured, pending, row, signed
from waimai.infra import sharding
from waimai.infra.clock import db_now

pytestmark = pytest.mark.data
SHARD = sharding.shard_of_user


def grow_older(days: int) -> None:
    for receipt in WebhookReceipt.objects.on(SHARD(MEI)):
        past = receipt.received_at - timedelta(days=days)
        WebhookReceipt.objects.on(SHARD(MEI)).filter(pk=receipt.pk).update(received_at=past)


def test_receipts_are_forgotten_after_thirty_days_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "ROWS_AT_ONCE", 2)
    for number in range(5):
        captured(key=str(number))
    grow_older(29)
    assert services.forget_receipts(SHARD(MEI)) == 0
    grow_older(2)
    young = captured(key="young")
    assert services.forget_receipts(SHARD(MEI)) == 5
    assert [receipt.payment_id for receipt in WebhookReceipt.objects.on(SHARD(MEI))] == [young.id]


def test_a_month_of_many_receipts_is_forgotten() -> None:
    old = db_now(SHARD(MEI)) - timedelta(days=31)
    WebhookReceipt.objects.on(SHARD(MEI)).bulk_create(
        WebhookReceipt(provider="sandbox", notify_id=f"n-{number}", payment_id=number, bucket=MEI, received_at=old)
        for number in range(1500)
    )
    assert services.forget_receipts(SHARD(MEI)) == 1500


def test_a_copy_of_a_forgotten_notification_changes_nothing(news: list[Any]) -> None:
    payment = pending()
    headers, body = signed(payment.id)
    services.handle_webhook(provider="sandbox", headers=headers, body=body)
    grow_older(31)
    services.forget_receipts(SHARD(MEI))
    services.handle_webhook(provider="sandbox", headers=headers, body=body)
    assert row(payment.id).status == "captured"
    assert len(news) == 1
