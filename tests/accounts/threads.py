"""Races in real threads, each with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

from waimai.infra.errors import DomainError

T = TypeVar("T")


def at_once(times: int, body: Callable[[int], T]) -> tuple[list[T], list[DomainError]]:
    """Run `body(0)` … `body(times - 1)` at the same moment; the answers, and the refusals."""
    start = threading.Barrier(times)
    answers: list[T] = []
    refusals: list[DomainError] = []
    mistakes: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(timeout=20)
            answers.append(body(number))
        except DomainError as error:
            refusals.append(error)
        except BaseException as error:
            mistakes.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=50)
    assert mistakes == []
    return answers, refusals
