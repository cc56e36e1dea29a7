"""The board's numbered events: what people at a screen must not miss, kept for those who were offline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import Decimal

from django.db.models import F, Q
from django.utils.dateparse import parse_date

import accounts.services
import menu.services
from orders.desk import tickets
from orders.desk.models import BoardCounter, BoardEvent, DeskOrder, LostSales, Ticket
from orders.desk.rows import write
from orders.events import (
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderCompleted,
    OrderEvent,
    OrderPaid,
    OrderReminded,
)
from orders.services import Document
from orders.states import Actor, Reason, in_words
from waimai.infra import crashpoints
from waimai.infra.barrier import with_barrier
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import PermissionRefused
from waimai.infra.rows import update_or_insert
from waimai.infra.sharding import DEFAULT

KIND_OF: dict[str, str] = {
    OrderPaid.topic: BoardEvent.Kind.NEW_ORDER,
    OrderReminded.topic: BoardEvent.Kind.REMINDER,
    OrderCancelled.topic: BoardEvent.Kind.CANCELLATION,
}
# What a printer is told to print.
TICKET_OF: dict[type[OrderEvent], str] = {
    OrderAccepted: Ticket.Kind.ORDER,
    OrderAmended: Ticket.Kind.CORRECTION,
}
KEPT = timedelta(days=3)
READ_AT_ONCE = 500
FOLLOWED, TOLD, LOST = (crashpoints.around(f"desk.{name}") for name in ("follow", "sold-out", "lost"))


def follow(event: OrderEvent) -> None:
    """Bring the desk's row up to the event and add the board's event, once, in one transaction."""
    if not event.snapshot["paid_at"]:
        if event.reason == Reason.SOLD_OUT:
            run_atomic(DEFAULT, lambda: _count_lost(event), commit=LOST)
        return

    def body() -> None:
        write(event.snapshot)
        # The version makes each change of an order a step of its own; it is told once, in whatever order news comes.
        with_barrier(
            using=DEFAULT, saga_id=event.key, step=f"board.{event.version}", op="do", body=lambda: _tell(event)
        )

    run_atomic(DEFAULT, body, commit=FOLLOWED)


def _count_lost(event: OrderEvent) -> None:
    """An order that came to nothing, once however often it is told."""
    day = {"shop_id": event.shop_id, "business_date": parse_date(event.snapshot["business_date"])}

    more = {"orders": F("orders") + 1, "amount": F("amount") + Decimal(event.snapshot["total"])}

    def body() -> None:
        update_or_insert(LostSales, day, {"orders": 0, "amount": Decimal(0)}, more, using=DEFAULT)

    with_barrier(using=DEFAULT, saga_id=event.key, step="board.lost", op="do", body=body)


def _tell(event: OrderEvent) -> None:
    kind = KIND_OF.get(event.topic, BoardEvent.Kind.CHANGE)
    facts = ("status", "payment_status", "total", "contact_name", "version")
    about = {name: event.snapshot[name] for name in facts} | {"actor": event.actor, "reason": event.reason}
    # Absent from news that an older release wrote.
    about["total"] = event.snapshot.get("net_total", about["total"])
    row = DeskOrder.objects.filter(order_id=event.key).only("number", "status").first()
    _add(event.shop_id, kind, event.key, about | {"number": row and row.number})
    if isinstance(event, OrderCancelled | OrderCompleted):
        tickets.drop(order_id=event.key)
    elif (ticket := TICKET_OF.get(type(event))) and row and row.status in tickets.COOKED:
        # News come in any order: the order may be over by now.
        tickets.make(order_id=event.key, n=event.version, shop_id=event.shop_id, kind=ticket)


def tell_sold_out(*, item_id: int, shop_id: int, name: str) -> None:
    """Tell a shop's board that an item is sold out."""
    run_atomic(DEFAULT, lambda: _add(shop_id, BoardEvent.Kind.SOLD_OUT, item_id, {"name": name}), commit=TOLD)


def _add(shop_id: int, kind: str, subject_id: int, data: Document) -> None:
    update_or_insert(BoardCounter, {"shop_id": shop_id}, {"n": 0}, {"n": F("n") + 1}, using=DEFAULT)
    n = BoardCounter.objects.filter(shop_id=shop_id).values_list("n", flat=True).get()
    event = BoardEvent(shop_id=shop_id, n=n, kind=kind, subject_id=subject_id, data=data, at=db_now(DEFAULT))
    BoardEvent.objects.bulk_create([event])


def positions(*, staff_id: int) -> dict[int, int]:
    """How far the boards of this person's shops have come. Raises PermissionRefused for somebody who works nowhere."""
    shops = accounts.services.shops_of_staff(user_id=staff_id)
    if shops is None:
        shops = frozenset(shop.id for shop in menu.services.list_shops())
    if not shops:
        raise PermissionRefused
    return counters(shops)


def counters(shops: Collection[int]) -> dict[int, int]:
    """How many events the board of each of these shops has had."""
    known = dict(BoardCounter.objects.filter(shop_id__in=shops).values_list("shop_id", "n"))
    return {shop: known.get(shop, 0) for shop in shops}


def events_since(seen: Mapping[int, int]) -> list[BoardEvent]:
    """The events of these shops after those numbers, shop by shop in their order; at most 500 at once."""
    wanted = Q()
    for shop_id, n in seen.items():
        wanted |= Q(shop_id=shop_id, n__gt=n)
    return list(BoardEvent.objects.filter(wanted).order_by("shop_id", "n")[:READ_AT_ONCE]) if seen else []


def cancellations(shops: frozenset[int] | None, *, within: timedelta) -> list[BoardEvent]:
    """Orders that were cancelled lately, and not by the shop itself (None: any shop's), newest first."""
    rows = BoardEvent.objects.filter(kind=BoardEvent.Kind.CANCELLATION, at__gte=db_now(DEFAULT) - within)
    if shops is not None:
        rows = rows.filter(shop_id__in=shops)
    return [row for row in rows.order_by("-at")[:READ_AT_ONCE] if row.data.get("actor") != Actor.STAFF]


def document(event: BoardEvent) -> Document:
    """An event as the stream shows it."""
    subject = "item" if event.kind == BoardEvent.Kind.SOLD_OUT else "order"
    told = event.data | ({"reason": in_words(event.data["reason"])} if event.data.get("reason") else {})
    return {"shop": event.shop_id, subject: event.subject_id, "at": event.at.isoformat(), **told}


def forget_old() -> int:
    """Delete events of over three days ago; whoever was away longer reads the board itself."""
    return BoardEvent.objects.filter(at__lt=db_now(DEFAULT) - KEPT).delete()[0]
