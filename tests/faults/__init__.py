"""What happens when a part fails, or is another one."""

from __future__ import annotations
