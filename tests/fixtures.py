"""The people and the shop that orders, journeys and races begin with; their conftests import what they use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from accounts.sms import MemorySender
from tests import factories
from tests.factories import MEI, TAO, Person, Stall
from tests.support.databases import Databases


@pytest.fixture
def stall(db_all: Databases) -> Stall:
    """An open shop that delivers."""
    return factories.stall()


@pytest.fixture
def mei(db_all: Databases) -> Person:
    """A customer."""
    return factories.person(MEI)


@pytest.fixture
def tao(db_all: Databases) -> Person:
    """Another customer."""
    return factories.person(TAO)


@pytest.fixture
def lan(stall: Stall) -> Person:
    """The shop's manager."""
    return factories.works_at(stall.shop_id, "manager", "lan")


@pytest.fixture
def phones(settings: Settings) -> Iterator[type[MemorySender]]:
    """Everybody's phones: what was sent stands in `phones.sent`."""
    settings.WAIMAI_SMS_SENDER = "accounts.sms.MemorySender"
    MemorySender.reset()
    yield MemorySender
    MemorySender.reset()
