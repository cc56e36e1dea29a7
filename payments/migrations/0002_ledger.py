from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

import waimai.infra.fields


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("bucket", models.SmallIntegerField(editable=False)),
                ("id", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="流水号")),
                (
                    "kind",
                    models.CharField(
                        choices=[("charge", "收款"), ("refund", "退款"), ("adjustment", "调整")],
                        max_length=16,
                        verbose_name="类型",
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10, verbose_name="金额")),
                ("order_id", models.BigIntegerField(verbose_name="订单号")),
                ("payment_id", models.BigIntegerField(verbose_name="支付号")),
                ("provider", models.CharField(max_length=16, verbose_name="支付渠道")),
                ("reference", models.CharField(blank=True, max_length=64, verbose_name="渠道流水号")),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="经办人")),
                ("reason", models.CharField(blank=True, max_length=200, verbose_name="原因")),
                ("created_at", models.DateTimeField(verbose_name="时间")),
            ],
            options={
                "verbose_name": "账目",
                "verbose_name_plural": "账目",
                "indexes": [
                    models.Index(fields=["order_id"], name="ledger_order"),
                    models.Index(fields=["created_at"], name="ledger_created"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(kind="charge", amount__gt=0)
                        | Q(kind="refund", amount__lt=0)
                        | (Q(kind="adjustment") & ~Q(amount=0)),
                        name="ledger_sign",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="paymentalert",
            name="once",
            field=waimai.infra.fields.ExactCharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="sandboxcharge",
            name="captured_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name="paymentalert",
            name="kind",
            field=models.CharField(
                choices=[
                    ("wrong_amount", "金额不符"),
                    ("other_merchant", "商户不符"),
                    ("other_provider", "支付渠道不符"),
                    ("unknown_payment", "支付不存在"),
                    ("transaction_reused", "流水号重复使用"),
                    ("second_transaction", "重复扣款"),
                    ("refund_stuck", "退款多次失败"),
                    ("provider_only", "仅渠道有记录"),
                    ("ours_only", "仅我方有记录"),
                    ("amount_differs", "对账金额不一致"),
                    ("state_differs", "对账状态不一致"),
                ],
                max_length=24,
                verbose_name="类型",
            ),
        ),
    ]
