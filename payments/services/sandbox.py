"""Telling the sandbox gateway what to do with a payment, as its payer."""

from __future__ import annotations

from django.conf import settings

from payments import providers
from payments.errors import PaymentRefused
from payments.providers.base import ProviderRefused
from payments.providers.sandbox import NAME, SandboxOutcome, tell
from payments.services import reading
from payments.services.reading import PaymentInfo
from waimai.infra.errors import NotFound


def tell_sandbox(
    *, payment_id: int, user_id: int, outcome: SandboxOutcome, delay_seconds: float = 0, times: int = 1
) -> PaymentInfo:
    """Let the sandbox capture or fail a payment in `delay_seconds`, and then call our webhook `times` times.

    Raises NotFound unless it is this user's sandbox payment and the sandbox is offered, and PaymentRefused when the
    sandbox never heard of it.
    """
    providers.get(NAME)
    payment = reading.get_payment(payment_id=payment_id, user_id=user_id)
    if payment.provider != NAME:
        raise NotFound
    try:
        tell(payment_id, outcome, delay_seconds=delay_seconds, times=times)
    except ProviderRefused as error:
        raise PaymentRefused from error
    return payment


def let_sandbox_pay(*, payment_id: int, user_id: int) -> None:
    """Confirm a sandbox payment as its payer would, where `WAIMAI_SANDBOX_AUTOPAY` is on; else do nothing.

    For clients that can only be sent to a till of WeChat's. Raises like `tell_sandbox`.
    """
    payment = reading.get_payment(payment_id=payment_id, user_id=user_id)
    if settings.WAIMAI_SANDBOX_AUTOPAY and payment.provider == NAME:
        tell_sandbox(payment_id=payment_id, user_id=user_id, outcome=SandboxOutcome.SUCCESS)
