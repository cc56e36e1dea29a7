"""What is done for accounts now and then: importing this module registers it."""

from __future__ import annotations

from accounts.services import purge_expired
from waimai.infra import housekeeping

housekeeping.on_default(purge_expired)
