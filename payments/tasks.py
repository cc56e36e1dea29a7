"""Celery's share of payments: what is looked at once a day."""

from __future__ import annotations

from celery import shared_task

from payments import services


@shared_task
def reconcile_yesterday() -> int:
    """Compare yesterday's statements with the ledger; what differs becomes alerts, once."""
    return services.reconcile_yesterday()
