from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0002_ledger"),
    ]

    operations = [
        migrations.AddField(
            model_name="sandboxnotice",
            name="claims",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="sandboxnotice",
            name="refund_id",
            field=models.BigIntegerField(null=True),
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
                    ("unknown_refund", "退款不存在"),
                    ("payment_unsettled", "支付结果长时间未知"),
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
