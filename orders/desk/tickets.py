"""Tickets: each is made once, with the acceptance, and a printer takes it once; who prints it again says so on it.

A printer that takes a ticket and dies with it has lost it: two printers never print the same one. It is still listed,
and printed again by hand, marked as a reprint.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import F

import accounts.services
from orders.desk.models import DeskOrder, Ticket
from orders.states import Status
from waimai.infra import crashpoints
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound
from waimai.infra.sharding import DEFAULT

PERMISSION = "view_board"
# While an order is in one of these, its ticket is of use.
COOKED = (Status.ACCEPTED, Status.DELIVERING)
TAKEN = crashpoints.around("ticket.take")


@dataclass(frozen=True, kw_only=True)
class PrintedTicket:
    """A ticket as it is to be printed. `reprint` counts from 1; 0 is the first and only original."""

    id: int
    order: DeskOrder
    kind: str
    reprint: int


def make(*, order_id: int, n: int, shop_id: int, kind: str = Ticket.Kind.ORDER) -> None:
    """Make the ticket of a version of an order, in the open transaction on default; harmless twice."""
    about = {"shop_id": shop_id, "kind": kind, "made_at": db_now(DEFAULT)}
    Ticket.objects.get_or_create(order_id=order_id, n=n, defaults=about)


def drop(*, order_id: int) -> None:
    """The order is over: what of it no printer has taken is not to be cooked. In the open transaction on default."""
    Ticket.objects.filter(order_id=order_id, printed_at=None).delete()


def take_next(*, shop_ids: Collection[int], staff_id: int) -> PrintedTicket | None:
    """Take the oldest ticket of these shops that no printer has taken; None when there is none.

    Raises NotFound for a shop whose board this person may not see.
    """
    mine = accounts.services.shops_of_staff(user_id=staff_id, permission=PERMISSION)
    if mine is not None and not mine.issuperset(shop_ids):
        raise NotFound
    while True:
        waiting = Ticket.objects.filter(shop_id__in=shop_ids, printed_at=None).order_by("id")
        ticket_id = waiting.values_list("id", flat=True).first()
        if ticket_id is None:
            return None
        ticket = Ticket.objects.get(pk=ticket_id)
        if not DeskOrder.objects.filter(order_id=ticket.order_id, status__in=COOKED).exists():
            # The order is over, and the news of that still on its way.
            drop(order_id=ticket.order_id)
        elif _take(ticket_id, staff_id):
            return _printed(ticket, reprint=0)


def print_again(*, order_id: int, staff_id: int) -> PrintedTicket:
    """The newest ticket of an order; the original if no printer has taken it yet, else a reprint.

    Raises NotFound for an order that was never accepted, and like `require_staff`.
    """
    order = DeskOrder.objects.filter(order_id=order_id, promised_at__isnull=False).first()
    if order is None:
        raise NotFound
    accounts.services.require_staff(user_id=staff_id, shop_id=order.shop_id, permission=PERMISSION)
    ticket = Ticket.objects.filter(order_id=order_id).order_by("-n").first()
    if ticket is None:
        ticket, taken = _late(order, staff_id)
    else:
        taken = _take(ticket.pk, staff_id)
    # Counted and read in one transaction: of two at once each has a number of its own.
    return _printed(ticket, reprint=0 if taken else run_atomic(DEFAULT, lambda: _count(ticket.pk), commit=TAKEN))


def _count(ticket_id: int) -> int:
    row = Ticket.objects.filter(pk=ticket_id)
    row.update(reprints=F("reprints") + 1)
    return row.values_list("reprints", flat=True).get()


def _late(order: DeskOrder, staff_id: int) -> tuple[Ticket, bool]:
    """Of an order that was accepted before there were tickets, or whose waiting one was dropped. Taken at once."""

    def body() -> tuple[Ticket, bool]:
        make(order_id=order.order_id, n=order.version, shop_id=order.shop_id)
        ticket = Ticket.objects.get(order_id=order.order_id, n=order.version)
        untaken = Ticket.objects.filter(pk=ticket.pk, printed_at=None)
        return ticket, untaken.update(printed_at=db_now(DEFAULT), printed_by=staff_id) == 1

    return run_atomic(DEFAULT, body, commit=TAKEN)


def waiting(shops: frozenset[int] | None) -> int:
    """How many tickets of these shops (None: all) no printer has taken."""
    rows = Ticket.objects.filter(printed_at=None)
    return (rows if shops is None else rows.filter(shop_id__in=shops)).count()


def _take(ticket_id: int, staff_id: int) -> bool:
    row = Ticket.objects.filter(pk=ticket_id, printed_at=None)
    change = {"printed_at": db_now(DEFAULT), "printed_by": staff_id}
    return run_atomic(DEFAULT, lambda: row.update(**change), commit=TAKEN) == 1


def _printed(ticket: Ticket, *, reprint: int) -> PrintedTicket:
    order = DeskOrder.objects.filter(order_id=ticket.order_id).first()
    if order is None:
        raise NotFound
    return PrintedTicket(id=ticket.pk, order=order, kind=ticket.kind, reprint=reprint)
