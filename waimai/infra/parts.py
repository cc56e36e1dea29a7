"""The parts waimai runs on, from URLs: databases, Redis, broker, file storage. Imported by the settings: no models."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from waimai.infra.ratelimit import Rate

SHORTEST_SECRET, FEWEST_LETTERS = 50, 8
LOCK_WAIT_SECONDS = 5
# Shorter than any lease: whoever takes work over finds its rows free. Ours never wait for anybody in a transaction.
IDLE_TRANSACTION_SECONDS = 20
# Linux allows 108 bytes for the path of a unix socket, and the last is a NUL.
LONGEST_SOCKET_PATH = 100


def database(url: str) -> dict[str, Any]:
    """Django's settings for one database URL (`sqlite:///file` or `mysql://user:password@host:port/name`).

    Raises ImproperlyConfigured for any other engine: the SQL of the order core is tried on these two families only.
    """
    settings: dict[str, Any] = dict(environ.Env.db_url_config(url))
    settings["ATOMIC_REQUESTS"] = False
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        return settings | _sqlite_options()
    if settings["ENGINE"] == "django.db.backends.mysql":
        return settings | _mysql_options() | {"ENGINE": "waimai.infra.mysql"}
    raise ImproperlyConfigured(f"Database URL {url.split('@')[-1]!r}: use sqlite:/// or mysql://")


def _sqlite_options() -> dict[str, Any]:
    # IMMEDIATE takes the write lock at BEGIN: by default two readers that turn writers fail at once with "locked".
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    return {"CONN_MAX_AGE": 60, "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas}}


def _mysql_options() -> dict[str, Any]:
    session = (
        f"SET SESSION time_zone='+00:00', innodb_lock_wait_timeout={LOCK_WAIT_SECONDS}, "
        "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'"
        # A process that stands still in a transaction keeps its locks; MariaDB can end that, MySQL reads a comment.
        f" /*M!100300 , idle_transaction_timeout={IDLE_TRANSACTION_SECONDS} */"
    )
    return {
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "charset": "utf8mb4",
            "isolation_level": "read committed",
            "init_command": session,
            "connect_timeout": 2,
            "read_timeout": 20,
            "write_timeout": 20,
        },
    }


def embedded_socket(data_dir: Path) -> Path:
    """The unix socket of the embedded Valkey: beside the data, or in the temporary folder if that path is too long."""
    beside = data_dir / "valkey.sock"
    if len(str(beside).encode()) <= LONGEST_SOCKET_PATH:
        return beside
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"waimai-{digest}.sock"


def embedded_redis_url(data_dir: Path) -> str:
    """The URL under which cache clients reach the embedded Valkey."""
    return f"unix://{embedded_socket(data_dir)}?db=0"


def broker_url(redis_url: str) -> str:
    """The Celery broker URL for a Redis URL; kombu spells unix sockets in a way of its own."""
    if not redis_url.startswith("unix://"):
        return redis_url
    path, _, query = redis_url.removeprefix("unix://").partition("?")
    return f"redis+socket://{path}?virtual_host={query.removeprefix('db=') or '0'}"


def broker_options(url: str) -> dict[str, Any]:
    """Celery's transport options for a broker URL; RabbitMQ needs none."""
    if url.startswith(("amqp", "pyamqp")):
        return {}
    # The longest ETA is 15 s and tasks run under 5 s, so what a dead worker held comes back soon.
    return {
        "visibility_timeout": 120,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": not url.startswith("redis+socket"),
    }


def development_secret(data_dir: Path, *, debug: bool) -> str:
    """A secret made once and kept in the data folder; production must name its own.

    Raises ImproperlyConfigured outside development.
    """
    if not debug:
        raise ImproperlyConfigured("WAIMAI_SECRET_KEY must be set when WAIMAI_DEBUG is off")
    path = data_dir / "secret_key"
    if not path.exists():
        # Written aside and linked into place: of several processes starting at once, one file wins, whole.
        draft = data_dir / f"secret_key.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


def refuse_what_is_unsafe(env: environ.Env, *, debug: bool) -> None:
    """Stop a production process that strangers could walk into. Raises ImproperlyConfigured naming every reason.

    Production is `WAIMAI_DEBUG=0`, and whatever says `WAIMAI_ENV=production`.
    """
    if debug and env.str("WAIMAI_ENV", default="") != "production":
        return
    if problems := list(_unsafe(env, debug=debug)):
        raise ImproperlyConfigured("This is no production setting: " + "; ".join(problems))


def _unsafe(env: environ.Env, *, debug: bool) -> Iterator[str]:
    if debug:
        yield "WAIMAI_DEBUG is on"
    secret = env.str("WAIMAI_SECRET_KEY", default="")
    if len(secret) < SHORTEST_SECRET or len(set(secret)) < FEWEST_LETTERS or secret.startswith("django-insecure"):
        yield f"WAIMAI_SECRET_KEY is shorter than {SHORTEST_SECRET} characters, or no secret"
    if any("*" in host or host.startswith(".") for host in env.list("WAIMAI_ALLOWED_HOSTS", default=[])):
        yield "WAIMAI_ALLOWED_HOSTS has a wildcard"
    if env.bool("WAIMAI_DEMO", default=False):
        yield "WAIMAI_DEMO is on, and everybody knows the passwords of its accounts"
    if env.bool("WAIMAI_WECHAT_SIMULATOR", default=0):
        yield "WAIMAI_WECHAT_SIMULATOR is on, and whoever logs in with WeChat is whoever they say"
    if env.bool("WAIMAI_SANDBOX_AUTOPAY", default=0):
        yield "WAIMAI_SANDBOX_AUTOPAY is on, and orders pay for themselves"


def demo_wanted(env: environ.Env) -> bool:
    """Whether demo data may be made: its passwords are well known, so by default in development only."""
    return bool(env.bool("WAIMAI_DEMO", default=env.bool("WAIMAI_DEBUG", default=True)))


def rates(env: environ.Env) -> dict[str, Rate]:
    """The token buckets by name: tokens a second, and how many may gather. Raises ImproperlyConfigured."""
    texts = {
        # All customers together, over all processes; then one client address at the entry.
        "entry": env.str("WAIMAI_RATE_ENTRY", default="100/200"),
        "address": env.str("WAIMAI_RATE_ADDRESS", default="50/100"),
        # One client address on the staff's side.
        "staff": env.str("WAIMAI_RATE_STAFF", default="50/300"),
        # One client address on logins, codes and refreshes (a school has only one); logins to one account.
        "login": env.str("WAIMAI_RATE_LOGIN", default="10/100"),
        "phone": env.str("WAIMAI_RATE_PHONE", default="1/30"),
        # One customer.
        "order": env.str("WAIMAI_RATE_ORDER", default="1/150"),
        "pay": env.str("WAIMAI_RATE_PAY", default="1/150"),
        # A few a day.
        "export": env.str("WAIMAI_RATE_EXPORT", default="0.00003/3"),
    }
    found = {}
    for name, text in texts.items():
        try:
            found[name] = Rate.read(text)
        except ValueError as error:
            raise ImproperlyConfigured(f"WAIMAI_RATE_{name.upper()}: {error}") from error
    return found


def storage(env: environ.Env) -> dict[str, Any]:
    """Where uploads go: the local folder, or any S3-compatible store when `WAIMAI_STORAGE_BUCKET` names a bucket."""
    bucket = env.str("WAIMAI_STORAGE_BUCKET", default="")
    if not bucket:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    return {
        "BACKEND": "waimai.infra.storage.GuardedS3Storage",
        "OPTIONS": {
            "bucket_name": bucket,
            "endpoint_url": env.str("WAIMAI_STORAGE_ENDPOINT", default=None),
            "region_name": env.str("WAIMAI_STORAGE_REGION", default=None),
            "access_key": env.str("WAIMAI_STORAGE_ACCESS_KEY", default=None),
            "secret_key": env.str("WAIMAI_STORAGE_SECRET_KEY", default=None),
            "custom_domain": env.str("WAIMAI_STORAGE_DOMAIN", default=None),
            # Aliyun OSS speaks the virtual-hosted style only; MinIO and others may want "path".
            "addressing_style": env.str("WAIMAI_STORAGE_ADDRESSING", default="virtual"),
            "querystring_auth": False,
            "file_overwrite": False,
        },
    }


def picture_origins(env: environ.Env) -> list[str]:
    """Origins that pictures may come from, for the content security policy."""
    if domain := env.str("WAIMAI_STORAGE_DOMAIN", default=""):
        return [f"https://{domain}"]
    endpoint = env.str("WAIMAI_STORAGE_ENDPOINT", default="")
    return [endpoint] if endpoint else []
