"""What the staff API takes and gives."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from orders.serializers import HIGHEST_ID, OrderLineOutput, WholeNumberField
from orders.states import PaymentStatus, Status
from waimai.infra.api import TextField, TrueFalseField

HIGHEST_LINE = 32767


class AcceptInput(serializers.Serializer[Any]):
    """In how many minutes it will be with the customer; the shop's usual time when absent."""

    minutes = WholeNumberField(required=False, allow_null=True, default=None, min_value=1, max_value=1440)


class StaffReasonInput(serializers.Serializer[Any]):
    """Why; the customer reads it."""

    reason = TextField(max_length=200)


class WithdrawInput(StaffReasonInput):
    """Why, and whether the portions can be sold again (absent: only if it hadn't been accepted yet)."""

    restock = TrueFalseField(required=False, allow_null=True, default=None)


class AmendmentInput(serializers.Serializer[Any]):
    """Which portions, what instead (absent: nothing), and why; the customer reads it."""

    line = WholeNumberField(min_value=1, max_value=HIGHEST_LINE)
    quantity = WholeNumberField(min_value=1, max_value=99)
    replacement = WholeNumberField(required=False, allow_null=True, default=None, min_value=1, max_value=HIGHEST_ID)
    reason = TextField(required=False, allow_blank=True, max_length=200, default="")


class StaffContactOutput(serializers.Serializer[Any]):
    """Where it goes."""

    name = serializers.CharField()
    phone = serializers.CharField()
    address = serializers.CharField()


class StaffOrderOutput(serializers.Serializer[Any]):
    """A paid order as staff see it."""

    id = serializers.IntegerField()
    shop = serializers.IntegerField()
    shop_name = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)
    payment_status = serializers.ChoiceField(PaymentStatus.choices)
    total = serializers.CharField()
    net_total = serializers.CharField()
    lines = OrderLineOutput(many=True)
    contact = StaffContactOutput()
    note = serializers.CharField()
    tableware = serializers.IntegerField()
    deliver_at = serializers.DateTimeField(allow_null=True)
    placed_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField()
    promised_at = serializers.DateTimeField(allow_null=True)
    reminded_at = serializers.DateTimeField(allow_null=True)
    allowed_actions = serializers.ListField(
        child=serializers.ChoiceField(["accept", "reject", "deliver", "complete", "cancel"])
    )


class StaffOrderPageOutput(serializers.Serializer[Any]):
    """A page of the board."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = StaffOrderOutput(many=True)
