"""Beat's timetable.

Each call expires with its period, so that an outage piles nothing up, or after a few seconds, so that a busy machine
throws nothing away.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

TIMETABLE: dict[str, dict[str, Any]] = {
    name: {"task": f"waimai.infra.tasks.{name}", "schedule": seconds, "options": {"expires": max(seconds, 5.0)}}
    for name, seconds in {
        "hand_out_timers": 5.0,
        "relay_all": 1.0,
        "sweep_timers": 2.0,
        "keep_house": 3600.0,
    }.items()
}
# 11:00 in Shanghai: providers give out the statement of a day at about ten on the next.
TIMETABLE["reconcile_yesterday"] = {
    "task": "payments.tasks.reconcile_yesterday",
    "schedule": crontab(hour=3, minute=0),
    "options": {"expires": 24 * 3600.0},
}
