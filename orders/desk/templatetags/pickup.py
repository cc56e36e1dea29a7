"""What the desk tells a customer's page: orders can't ask it, as it stands above them; a template may put it in."""

from __future__ import annotations

from django import template

from orders.desk import services

register = template.Library()


@register.simple_tag
def pickup_number(order_id: int) -> int | None:
    """The number that is called out for an order, as soon as there is one. Who may see the order has been asked."""
    return services.number_of(order_id)
