"""What of orders has to be over before its month may go to the archive."""

from __future__ import annotations

from collections.abc import Iterator

from orders.models import Order, Saga
from orders.states import PaymentStatus, Status
from waimai.infra import archive
from waimai.infra.models import OutboxMessage, Timer

NAMED = 10
ENDED = (Status.COMPLETED, Status.CANCELLED)
UNDONE_OR_DONE = (Saga.State.DONE, Saga.State.COMPENSATED)


@archive.refuses
def unfinished(using: str, below: int) -> Iterator[str]:
    """Orders on their way, their sagas, and timers and news of them."""
    orders = Order.objects.on(using).filter(pk__lt=below)
    for order in orders.exclude(status__in=ENDED)[:NAMED]:
        yield f"order {order.pk} is {order.status}"
    for order in orders.filter(payment_status=PaymentStatus.REFUNDING)[:NAMED]:
        yield f"order {order.pk} is {order.payment_status}"
    for saga in Saga.objects.on(using).filter(order_id__lt=below).exclude(state__in=UNDONE_OR_DONE)[:NAMED]:
        yield f"saga of order {saga.order_id} is {saga.state}"
    for timer in Timer.objects.on(using).filter(ref_id__lt=below)[:NAMED]:
        yield f"timer {timer.kind} of {timer.ref_id} is due {timer.due_at:%F %T}"
    news = OutboxMessage.objects.on(using).filter(key__lt=below).exclude(state=OutboxMessage.State.DONE)
    for message in news[:NAMED]:
        yield f"message {message.id} ({message.topic} of {message.key}) waits"
