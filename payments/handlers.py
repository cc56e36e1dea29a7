"""What fires when a time of payments has come; all of it talks to others, so it runs in the network lane."""

from __future__ import annotations

from datetime import datetime

from payments import services
from payments.providers import sandbox, sandbox_delivery
from payments.services import archiving  # noqa: F401 - says what an archive has to wait for
from payments.services.polling import POLL
from payments.services.refunding import SEND
from waimai.infra import housekeeping
from waimai.infra.timers import fires

housekeeping.on_shards(services.forget_receipts)


@fires(POLL, lane="network")
def poll(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """Ask the provider about payments whose webhook hasn't come."""
    for payment_id in ref_ids:
        services.poll_payment(payment_id=payment_id, using=using)


@fires(SEND, lane="network")
def send_refunds(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """Give refunds to their provider."""
    for refund_id in ref_ids:
        services.send_refund(refund_id=refund_id, using=using)


@fires(sandbox.NOTIFY, lane="network")
def deliver_notices(ref_ids: list[int], *, using: str, now: datetime) -> None:
    """Let the sandbox call our webhook."""
    for notice_id in ref_ids:
        sandbox_delivery.deliver(notice_id, using=using)
