"""What the orders API takes and gives, for validation and for the OpenAPI document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from menu.services import LineRequest
from orders.models import Amendment
from orders.states import Actor, PaymentStatus, Status
from waimai.infra.api import TextField

MOST_LINES = 50
HIGHEST_ID = 2**53 - 1
LINE_KINDS = ("dish", "set_meal")


class WholeNumberField(serializers.IntegerField):
    """A JSON number without a fraction (`1.0` is one, says JSON Schema): not `"1"`, not `true`."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse whatever else Python would kindly turn into an int."""
        if type(data) is float and data.is_integer():
            data = int(data)
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class LineInput(serializers.Serializer[Any]):
    """So many of an item with these options."""

    item = WholeNumberField(min_value=1, max_value=HIGHEST_ID)
    quantity = WholeNumberField(min_value=1, max_value=99)
    options = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=HIGHEST_ID), required=False, default=list, max_length=50
    )

    @staticmethod
    def as_request(data: dict[str, Any]) -> LineRequest:
        """The validated line as the services take it."""
        return LineRequest(item_id=data["item"], quantity=data["quantity"], option_ids=tuple(data["options"]))


class QuantityInput(serializers.Serializer[Any]):
    """How many it shall be; as many as there are when it isn't said."""

    quantity = WholeNumberField(min_value=1, max_value=99, required=False)


class OrderInput(serializers.Serializer[Any]):
    """A checkout. Without `lines` the cart is ordered; `shown_total` is what the customer saw."""

    shop = WholeNumberField(min_value=1, max_value=HIGHEST_ID)
    address = WholeNumberField(min_value=1, max_value=HIGHEST_ID)
    lines = serializers.ListField(child=LineInput(), required=False, allow_null=True, max_length=MOST_LINES)
    note = TextField(required=False, allow_blank=True, max_length=200, default="")
    tableware = WholeNumberField(required=False, min_value=0, max_value=99, default=1)
    deliver_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    shown_total = serializers.DecimalField(
        max_digits=10, decimal_places=2, required=False, allow_null=True, default=None, min_value=Decimal(0)
    )


class ReasonInput(serializers.Serializer[Any]):
    """Why, in the caller's words."""

    reason = TextField(required=False, allow_blank=True, max_length=200, default="")


class PayInput(serializers.Serializer[Any]):
    """Which provider to pay with."""

    provider = TextField(max_length=16)


class OptionOutput(serializers.Serializer[Any]):
    """A chosen option."""

    id = serializers.IntegerField()
    group = serializers.CharField()
    name = serializers.CharField()
    price_delta = serializers.CharField()


class OrderLineOutput(serializers.Serializer[Any]):
    """What was ordered, with the names and prices of that moment."""

    n = serializers.IntegerField()
    item = serializers.IntegerField()
    kind = serializers.ChoiceField(LINE_KINDS)
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.CharField()
    amount = serializers.CharField()
    options = OptionOutput(many=True)
    components = serializers.ListField(child=serializers.DictField())
    image = serializers.CharField(allow_null=True)


class ContactOutput(serializers.Serializer[Any]):
    """Where the order goes, as it was when ordered."""

    name = serializers.CharField()
    phone = serializers.CharField()
    address = serializers.CharField()
    latitude = serializers.CharField(allow_null=True)
    longitude = serializers.CharField(allow_null=True)


class ChangeOutput(serializers.Serializer[Any]):
    """One change of the order."""

    status = serializers.ChoiceField(Status.choices)
    at = serializers.DateTimeField()
    actor = serializers.ChoiceField(Actor.choices)
    reason = serializers.CharField()


class AnswerInput(serializers.Serializer[Any]):
    """Whether the customer agrees to what the shop proposes."""

    accept = serializers.BooleanField()


class AmendmentOutput(serializers.Serializer[Any]):
    """What the shop proposed to leave out, or to bring instead; `refund` (yuan) goes back if the customer agrees."""

    n = serializers.IntegerField()
    line = serializers.IntegerField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    replacement = OrderLineOutput(allow_null=True)
    refund = serializers.CharField()
    state = serializers.ChoiceField(Amendment.State.choices)
    reason = serializers.CharField(allow_blank=True)
    answer_by = serializers.DateTimeField()


class OrderOutput(serializers.Serializer[Any]):
    """An order as its customer sees it."""

    id = serializers.IntegerField()
    shop = serializers.IntegerField()
    shop_name = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)
    payment_status = serializers.ChoiceField(PaymentStatus.choices)
    goods_total = serializers.CharField()
    packing_fee = serializers.CharField()
    delivery_fee = serializers.CharField()
    total = serializers.CharField()
    refunded_part = serializers.CharField()
    net_total = serializers.CharField()
    lines = OrderLineOutput(many=True)
    amendments = AmendmentOutput(many=True)
    contact = ContactOutput()
    note = serializers.CharField()
    tableware = serializers.IntegerField()
    deliver_at = serializers.DateTimeField(allow_null=True)
    promised_at = serializers.DateTimeField(allow_null=True)
    placed_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    allowed_actions = serializers.ListField(child=serializers.ChoiceField(["pay", "cancel", "remind", "reorder"]))
    timeline = ChangeOutput(many=True)


class OrderPageOutput(serializers.Serializer[Any]):
    """A page of orders."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = OrderOutput(many=True)


class PaymentOutput(serializers.Serializer[Any]):
    """What the client needs to pay."""

    payment = serializers.IntegerField()
    provider = serializers.CharField()
    client_parameters = serializers.DictField()


class CartLineOutput(serializers.Serializer[Any]):
    """A line of the cart; `problem` says why it can't be ordered now."""

    id = serializers.IntegerField()
    item = serializers.IntegerField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    options = OptionOutput(many=True)
    unit_price = serializers.CharField(allow_null=True)
    amount = serializers.CharField(allow_null=True)
    available = serializers.BooleanField()
    problem = serializers.CharField(allow_null=True)


class CartOutput(serializers.Serializer[Any]):
    """The cart with today's prices."""

    shop = serializers.IntegerField()
    version = serializers.IntegerField()
    lines = CartLineOutput(many=True)
    goods_total = serializers.CharField()
    packing_fee = serializers.CharField()
    delivery_fee = serializers.CharField()
    total = serializers.CharField()
    minimum_order = serializers.CharField()


class GoneOutput(serializers.Serializer[Any]):
    """A line of the old order that can't be had now."""

    name = serializers.CharField()
    reason = serializers.CharField()


class RepricedOutput(serializers.Serializer[Any]):
    """A line of the old order that costs something else now."""

    name = serializers.CharField()
    was = serializers.CharField()
    now = serializers.CharField()


class ReorderOutput(CartOutput):
    """The cart after the old order's lines went in."""

    gone = GoneOutput(many=True)
    repriced = RepricedOutput(many=True)
