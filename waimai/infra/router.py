"""The database router: it decides by app label and model name alone and never guesses a shard."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Model

from waimai.infra.errors import ShardNotChosen

# Apps whose tables live on the order shards only.
SHARDED_APPS = frozenset({"orders", "payments"})
# Tables of `infra` that stand on every database; its other tables stand on default.
EVERYWHERE = frozenset({"outboxmessage", "timer", "timercursor", "barrier", "idempotencykey"})


class ShardRouter:
    """Sends shared tables to `default` and refuses any query on a sharded table that names no shard."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The alias to read from. Raises ShardNotChosen for a sharded table and no instance that knows its shard."""
        label, name = model._meta.app_label, model._meta.model_name or ""
        if not _needs_a_name(label, name):
            return "default"
        instance = hints.get("instance")
        if instance is not None and instance._state.db:
            return str(instance._state.db)
        raise ShardNotChosen(f"{label}.{name}: name the database with .for_user(), .by_id() or .on()")

    db_for_write = db_for_read

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Relations stay inside one database."""
        return one._state.db == other._state.db or None in (one._state.db, other._state.db)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        """Whether a table belongs on a database; by names only, as old migrations speak of classes that are gone."""
        on_shard = db in settings.WAIMAI_ORDER_SHARDS
        if app_label in SHARDED_APPS:
            return on_shard
        if app_label == "infra" and model_name is None:
            return True
        if app_label == "infra" and model_name in EVERYWHERE:
            return True
        return not on_shard


def _needs_a_name(label: str, name: str) -> bool:
    return label in SHARDED_APPS or (label == "infra" and name in EVERYWHERE)
