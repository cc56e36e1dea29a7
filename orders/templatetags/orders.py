"""How the pages write what stands in an order's document, and the cart under the menu."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.db import InterfaceError, OperationalError

import accounts.services
from menu.services import ShopInfo
from orders import documents
from orders.basket import Basket, InCart, basket
from orders.cart_views import cart_of
from orders.forms import CheckoutForm
from orders.services import Document
from orders.states import Actor, PaymentStatus, Status
from waimai.infra.errors import NotFound, ServiceUnavailable

register = template.Library()


@register.filter
def moment(value: str | None) -> datetime | None:
    """A time of a document (ISO 8601) as one that `date` can write."""
    return datetime.fromisoformat(value) if value else None


@register.filter
def status_label(value: str) -> str:
    """An order's status in the reader's language."""
    return str(Status(value).label)


@register.filter
def payment_label(value: str) -> str:
    """A payment status in the reader's language."""
    return str(PaymentStatus(value).label)


@register.filter
def actor_label(value: str) -> str:
    """Who made a change, in the reader's language."""
    return str(Actor(value).label)


@register.filter
def lines_now(order: Document) -> list[Document]:
    """What is brought: the lines with what the customer agreed to."""
    return documents.lines_now(order)


@register.filter
def portions(order: Document) -> int:
    """How many portions an order has."""
    return documents.portions(order)


@register.simple_tag(takes_context=True)
def address_without_coordinates(context: dict[str, Any], form: CheckoutForm) -> int | None:
    """The chosen address when the shop can't tell where it is; None when it can, or the address is gone."""
    try:
        chosen = accounts.services.get_address(
            user_id=context["request"].user.pk, address_id=form.cleaned_data["address"]
        )
    except NotFound:
        return None
    return chosen.id if chosen.latitude is None else None


@register.simple_tag(takes_context=True)
def my_basket(context: dict[str, Any], shop: ShopInfo) -> Basket | None:
    """What is in the visitor's cart; None while its shard is down: the menu can still be read."""
    try:
        return basket(cart_of(context["request"], shop.id).view())
    except (OperationalError, InterfaceError, ServiceUnavailable):
        return None


@register.filter
def of_item(found: Basket | None, item_id: int) -> InCart:
    """What of an item is in a cart."""
    return InCart() if found is None else found.of_item(item_id)
