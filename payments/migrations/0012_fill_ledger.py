from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.models import F

from payments import ledger_fill


def fill_books(apps: Any, schema_editor: Any) -> None:
    """Book the money of before, on this shard; the sandbox's captures get the time that is known of them."""
    using = schema_editor.connection.alias
    payment, refund, entry, charge = (
        apps.get_model("payments", name) for name in ("Payment", "Refund", "LedgerEntry", "SandboxCharge")
    )
    ledger_fill.fill(payment, refund, entry, using=using)
    charge.objects.using(using).filter(state="captured", captured_at=None).update(captured_at=F("created_at"))


class Migration(migrations.Migration):
    """Apart from the tables it fills: MySQL can't take half a migration back, and this one can simply run again."""

    dependencies = [("payments", "0011_claims_default")]

    operations = [migrations.RunPython(fill_books, migrations.RunPython.noop)]
