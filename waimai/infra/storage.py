"""Uploads in an S3-compatible store, behind a circuit breaker."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from waimai.infra.breaker import Breaker, CircuitOpen
from waimai.infra.errors import ServiceUnavailable

T = TypeVar("T")
STORE = Breaker("storage")
# Boto's own are a minute each, five times over.
LIMITS = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2})
SERVER_ERROR = 500


class StoreFailed(Exception):
    """The store didn't answer, or with a 5xx."""


class GuardedS3Storage(S3Storage):  # type: ignore[misc]  # django-storages brings no types.
    """Calls to the store raise ServiceUnavailable when it fails, and at once while it is left alone."""

    def get_default_settings(self) -> dict[str, Any]:
        """With limits on how long a call may take."""
        return {**super().get_default_settings(), "client_config": LIMITS}

    def _save(self, name: str, content: Any) -> str:
        return str(_guarded(lambda: super(GuardedS3Storage, self)._save(name, content)))

    def _open(self, name: str, mode: str = "rb") -> Any:
        return _guarded(lambda: super(GuardedS3Storage, self)._open(name, mode))

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(_guarded(lambda: super(GuardedS3Storage, self).exists(name)))

    def delete(self, name: str) -> None:
        """Remove a file."""
        _guarded(lambda: super(GuardedS3Storage, self).delete(name))


def _guarded(call: Callable[[], T]) -> T:
    try:
        with STORE.guard(failures=(StoreFailed,), answers=(ClientError, OSError)):
            return _tried(call)
    except CircuitOpen as error:
        raise ServiceUnavailable(retry_after=math.ceil(error.retry_after)) from error
    except StoreFailed as error:
        raise ServiceUnavailable from error


def _tried(call: Callable[[], T]) -> T:
    try:
        return call()
    except BotoCoreError as error:
        raise StoreFailed from error
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", SERVER_ERROR) >= SERVER_ERROR:
            raise StoreFailed from error
        raise
