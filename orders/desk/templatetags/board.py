"""How the staff's screens write what stands in an order."""

from __future__ import annotations

from django import template

from orders.states import Reason

register = template.Library()


@register.filter
def times(value: int, factor: int) -> int:
    """How many of a part, of so many set meals."""
    return value * factor


@register.filter
def reason_label(value: str) -> str:
    """A reason in the reader's language, where it is one of ours."""
    return str(Reason(value).label) if value in Reason.values else value
