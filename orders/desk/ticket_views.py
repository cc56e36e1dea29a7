"""Tickets as pages to print, and as bytes for a ticket printer."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

import menu.services
from orders.desk import paper, screens, tickets
from orders.desk.tickets import PrintedTicket
from orders.desk.views import staff_only


@require_POST
@staff_only
def ticket(request: HttpRequest, order_id: int) -> HttpResponse:
    """An order's ticket: the original, or a reprint when a printer has taken that. `as=escpos` gives bytes."""
    return _printed(request, tickets.print_again(order_id=order_id, staff_id=_id(request)))


@require_POST
@staff_only
def next_ticket(request: HttpRequest) -> HttpResponse:
    """The oldest ticket that no printer has taken, of the shop that is named or of any; 204 when there is none."""
    shops = screens.my_shops(staff_id=_id(request))
    looked_at = screens.chosen(shops, request.POST.get("shop", ""))
    taken = tickets.take_next(shop_ids=looked_at, staff_id=_id(request))
    if taken is not None:
        return _printed(request, taken)
    return HttpResponse(status=204) if request.POST.get("as") == "escpos" else redirect(reverse("board"))


def _id(request: HttpRequest) -> int:
    return cast("int", request.user.pk)


def _printed(request: HttpRequest, taken: PrintedTicket) -> HttpResponse:
    rows = paper.rows_of(taken, zone=menu.services.get_shop(taken.order.shop_id).time_zone)
    if request.POST.get("as") == "escpos":
        width = 58 if request.POST.get("paper") == "58" else 80
        return HttpResponse(paper.escpos(rows, paper=width), content_type="application/octet-stream")
    return render(request, "board/ticket.html", {"rows": rows, "ticket": taken})
