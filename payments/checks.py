"""System checks of the payments app."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks

from payments import providers
from payments.providers.sandbox import NAME


@checks.register("payments")
def providers_fit(**kwargs: Any) -> list[checks.CheckMessage]:
    """Every offered provider exists."""
    wanted = set(settings.WAIMAI_PAYMENT_PROVIDERS)
    return [
        checks.Error(f"WAIMAI_PAYMENT_PROVIDERS names {unknown!r}, which doesn't exist", id="payments.E001")
        for unknown in sorted(wanted - set(providers.offered()))
    ]


@checks.register("payments", deploy=True)
def production_takes_money(**kwargs: Any) -> list[checks.CheckMessage]:
    """A deployment doesn't offer the provider that takes no money, unless it is there to demonstrate."""
    if settings.WAIMAI_DEMO or NAME not in settings.WAIMAI_PAYMENT_PROVIDERS:
        return []
    hint = (
        "Whoever orders can pay without money: name the real providers in WAIMAI_PAYMENT_PROVIDERS, "
        "or set WAIMAI_DEMO where that is meant."
    )
    return [checks.Error("The sandbox payment provider is offered in production", hint=hint, id="payments.E002")]
