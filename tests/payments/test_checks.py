from __future__ import annotations

from typing import Any

from payments.checks import production_takes_money, providers_fit


def test_the_sandbox_in_production_is_an_error(settings: Any) -> None:
    settings.WAIMAI_DEMO = False
    assert [message.id for message in production_takes_money()] == ["payments.E002"]


def test_the_sandbox_is_what_a_demo_pays_with(settings: Any) -> None:
    settings.WAIMAI_DEMO = True
    assert production_takes_money() == []


def test_production_without_the_sandbox_is_fine(settings: Any) -> None:
    settings.WAIMAI_DEMO, settings.WAIMAI_PAYMENT_PROVIDERS = False, []
    assert production_takes_money() == []


def test_a_provider_that_exists_is_fine() -> None:
    assert providers_fit() == []


def test_a_provider_that_does_not_exist_is_an_error(settings: Any) -> None:
    settings.WAIMAI_PAYMENT_PROVIDERS = ["sandbox", "cash"]
    assert [message.id for message in providers_fit()] == ["payments.E001"]
