"""Messages and cached values are data: nobody who gets to write into the broker or the cache runs code here."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.core.cache import cache
from kombu import Connection, Consumer, Exchange, Queue
from kombu.exceptions import ContentDisallowed

from tests.support.databases import Databases
from waimai.celery import app
from waimai.infra import parts

pytestmark = pytest.mark.data


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.once
def test_s16_celery_takes_json_only() -> None:
    assert isinstance(app, Celery)
    assert (app.conf.accept_content, app.conf.task_serializer, app.conf.result_accept_content) == (
        ["json"],
        "json",
        None,
    )
    assert app.conf.task_ignore_result


def test_s16_a_pickled_message_is_refused_and_not_read(valkey_server: None, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    queue = Queue("s16", Exchange("s16"), routing_key="s16")
    refused: list[Exception] = []

    def refuse(message: Any, error: Exception) -> None:
        refused.append(error)
        message.ack()

    with Connection(parts.broker_url(settings.WAIMAI_REDIS_URL)) as connection, connection.channel() as channel:
        producer = connection.Producer(channel)
        producer.publish(
            pickle.dumps(Trap(trap)),
            exchange=queue.exchange,
            routing_key="s16",
            declare=[queue],
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
        consumer = Consumer(channel, [queue], accept=app.conf.accept_content, callbacks=[lambda body, _m: body])
        consumer.on_decode_error = refuse
        with consumer:
            connection.drain_events(timeout=10)
    assert [type(error) for error in refused] == [ContentDisallowed]
    assert not trap.exists()


def test_s16_a_pickle_in_the_cache_is_no_value(db_all: Databases, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    cache.set("innocent", 1)
    client: Any = cache.client.get_client(write=True)  # type: ignore[attr-defined]
    client.set(cache.make_key("innocent"), pickle.dumps(Trap(trap)))
    with pytest.raises(ValueError, match=r"decode|JSON|Expecting"):
        cache.get("innocent")
    assert not trap.exists()


@pytest.mark.once
def test_s16_sessions_are_json() -> None:
    assert settings.SESSION_SERIALIZER.endswith("JSONSerializer")
