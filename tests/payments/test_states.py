from __future__ import annotations

import pytest

from payments.services import settling
from payments.states import SOURCES, PaymentStatus
from tests.payments.factories import pending, row
from waimai.infra import sharding

pytestmark = pytest.mark.data


@pytest.mark.parametrize("source", PaymentStatus)
@pytest.mark.parametrize("target", PaymentStatus)
def test_a_payment_moves_only_where_it_may(source: PaymentStatus, target: PaymentStatus) -> None:
    payment = pending()
    type(payment).objects.by_id(payment.id).update(status=source)
    moved = settling.move(payment.id, target, using=sharding.shard_of_id(payment.id))
    assert moved == (source in SOURCES[target])
    assert row(payment.id).status == (target if moved else source)


def test_nothing_leads_out_of_captured() -> None:
    assert all(PaymentStatus.CAPTURED not in sources for sources in SOURCES.values())


def test_every_state_can_still_turn_out_paid() -> None:
    assert set(SOURCES[PaymentStatus.CAPTURED]) == set(PaymentStatus) - {PaymentStatus.CAPTURED}
