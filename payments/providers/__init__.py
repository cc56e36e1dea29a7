"""The payment providers that this installation offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from payments.providers.base import Provider
from payments.providers.guarded import Guarded
from payments.providers.sandbox import Sandbox
from waimai.infra.errors import NotFound

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

_KNOWN: dict[str, Provider] = {provider.name: Guarded(provider) for provider in (Sandbox(),)}


def offered() -> list[str]:
    """The names of the providers that the settings offer."""
    return [name for name in settings.WAIMAI_PAYMENT_PROVIDERS if name in _KNOWN]


def labels() -> dict[str, StrOrPromise]:
    """What payers know the offered providers by, by name."""
    return {name: _KNOWN[name].label for name in offered()}


def every() -> dict[str, StrOrPromise]:
    """`labels` of those too that aren't offered any more: their payments stay."""
    return {name: provider.label for name, provider in _KNOWN.items()}


def get(name: str) -> Provider:
    """An offered provider by its name. Raises NotFound for any other."""
    if name not in offered():
        raise NotFound
    return _KNOWN[name]


def of_payment(name: str) -> Provider:
    """The provider of a payment that exists, offered to new ones or not: its money must find the way back."""
    return _KNOWN[name]
