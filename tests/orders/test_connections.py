"""Requests find their connections made: nothing is connected or set up for one of them."""

from __future__ import annotations

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory

import accounts.services
from tests.factories import Person, Stall, placed

pytestmark = [pytest.mark.data, pytest.mark.mariadb]
REQUESTS = 10


def session(using: str) -> tuple[int, dict[str, int]]:
    """The number of this thread's connection, and how many commands of some kinds it has taken."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()
        cursor.execute("SHOW SESSION STATUS LIKE 'Com\\_%'")
        return number, {name: int(value) for name, value in cursor.fetchall()}


def test_requests_are_answered_on_connections_as_they_are(mei: Person, stall: Stall) -> None:
    placed(mei, stall)
    token = accounts.services.issue_tokens(mei.user).access
    asked = RequestFactory().get("/api/v1/orders/", headers={"Authorization": f"Bearer {token}"}).environ
    # Not the test client, which keeps connections that a request would close.
    application = WSGIHandler()

    def ask() -> None:
        answer = application(dict(asked), lambda *_: None)  # type: ignore[arg-type]
        assert answer.status_code == 200
        answer.close()

    ask()
    before = {using: session(using) for using in ("default", mei.shard)}
    for _ in range(REQUESTS):
        ask()
    for using, (number, counts) in before.items():
        same, now = session(using)
        grown = {name for name, value in now.items() if value > counts[name]}
        assert same == number
        # Selects, and once per request (of which we are one) a look whether the connection is still good.
        assert grown - {"Com_show_status"} == {"Com_select", "Com_admin_commands"}
        assert now["Com_admin_commands"] - counts["Com_admin_commands"] == REQUESTS + 1
