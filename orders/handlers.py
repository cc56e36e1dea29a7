"""What orders hear and what the clock wakes: importing this module registers it all."""

from __future__ import annotations

from orders import amending, archiving, erasing, paying, saga, timing
from waimai.infra import loops

loops.add("sagas", saga.recover, seconds=0.25)

__all__ = ["amending", "archiving", "erasing", "paying", "saga", "timing"]
