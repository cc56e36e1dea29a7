"""What the mini-program sends about carts and orders."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from rest_framework import serializers

from waimai.infra.sky import HIGHEST_ID, IdField

CENT = Decimal("0.01")
AT_ONCE, LATER = 1, 0
BY_PORTIONS, CHOSEN = 1, 0
LONGEST_FLAVOR = 200
# By the clock of the shop.
CLOCK_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")


class CartLineInput(serializers.Serializer[Any]):
    """A dish or a set meal, and what was chosen."""

    dishId = IdField(required=False, allow_null=True)
    setmealId = IdField(required=False, allow_null=True)
    dishFlavor = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_FLAVOR)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two, and its kind."""
        dish, meal = attrs.get("dishId"), attrs.get("setmealId")
        if (dish is None) == (meal is None):
            raise serializers.ValidationError({"dishId": [self.fields["dishId"].error_messages["required"]]})
        kind = "dish" if meal is None else "set_meal"
        return {"item": dish or meal, "kind": kind, "dishFlavor": attrs.get("dishFlavor") or ""}


class AmountField(serializers.Field[Decimal, Any, Any, Any]):
    """Yuan as JavaScript adds them up: 26.200000000000003 is 26.20."""

    default_error_messages = {"invalid": serializers.DecimalField.default_error_messages["invalid"]}

    def to_internal_value(self, data: Any) -> Decimal:
        """Rounded to the cent."""
        try:
            amount = Decimal(str(data)) if not isinstance(data, bool) else Decimal("NaN")
            if not amount.is_finite() or not 0 <= amount < 10**8:
                self.fail("invalid")
            return amount.quantize(CENT)
        except InvalidOperation:
            self.fail("invalid")

    def to_representation(self, value: Decimal) -> str:
        """Never shown."""
        return str(value)


class NumberOrText(serializers.IntegerField):
    """A number that may be missing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)


class SubmitInput(serializers.Serializer[Any]):
    """A checkout. `amount` is what the client showed; the server's own price has to agree."""

    addressBookId = IdField()
    amount = AmountField()
    remark = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=200)
    estimatedDeliveryTime = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=32)
    deliveryStatus = NumberOrText()
    tablewareNumber = NumberOrText()
    tablewareStatus = NumberOrText()


class PaymentInput(serializers.Serializer[Any]):
    """Which order, and how: 1 WeChat, 2 Alipay."""

    orderNumber = IdField()
    payMethod = NumberOrText()


class HistoryQuery(serializers.Serializer[Any]):
    """A page of orders."""

    page = serializers.IntegerField(required=False, default=1, min_value=1, max_value=HIGHEST_ID)
    pageSize = serializers.IntegerField(required=False, default=10, min_value=1, max_value=100)
    status = serializers.IntegerField(required=False, min_value=1, max_value=6)
    payStatus = serializers.IntegerField(required=False, min_value=0, max_value=2)
