"""What the tests stand on: databases, the Valkey child, a web server, threads."""

from __future__ import annotations
