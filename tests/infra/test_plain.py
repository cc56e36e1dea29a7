"""A decoder made of a serializer takes less than it, never more, and understands it alike."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers

from orders.serializers import OrderInput
from waimai.infra.plain import decoder_of

pytestmark = pytest.mark.once
READ = decoder_of(OrderInput)
LINE = {"item": 7, "quantity": 1}
ORDER = {"shop": 1, "address": 2}
HIGHEST = 2**53 - 1

numbers = st.sampled_from([1, 99, 2, 0, -1, 98, 100, HIGHEST, HIGHEST + 1, 1.0, True, "1", None])
texts = st.text(st.sampled_from(" \t\n\x00\x1c\u2028\u3000辣a"), max_size=6) | st.sampled_from(["x" * 200, "x" * 201])
amounts = st.text("05.-+ \n", max_size=5) | st.sampled_from(["64.00", "1e2", "NaN", "١.00", 64, 1.5, None])
long = st.integers(49, 51)
options = st.lists(numbers, max_size=3) | long.map(lambda n: [1] * n) | st.none()
line = st.fixed_dictionaries({}, optional={"item": numbers, "quantity": numbers, "options": options})
lines = st.lists(line.map(lambda change: LINE | change), max_size=2) | long.map(lambda n: [LINE] * n)
changes = st.fixed_dictionaries(
    {},
    optional={
        "shop": numbers,
        "address": numbers,
        "lines": lines | st.none() | st.just([7]),
        "note": texts | numbers,
        "tableware": numbers,
        "deliver_at": st.sampled_from([None, "2030-01-01T00:00:00Z", ""]),
        "shown_total": amounts,
        "status": numbers,
    },
)


def read(body: Any) -> dict[str, Any] | None:
    """What the decoder makes of a body; None when it leaves it to the serializer."""
    try:
        return dict(msgspec.to_builtins(READ.decode(msgspec.json.encode(body))))
    except msgspec.ValidationError:
        return None


@settings(max_examples=300, deadline=None)
@given(changes.map(lambda change: ORDER | change))
def test_what_the_decoder_takes_the_serializer_takes_alike(body: dict[str, Any]) -> None:
    plain = read(body)
    if plain is None:
        return
    checked = OrderInput(data=body)
    assert checked.is_valid(), checked.errors
    if plain["shown_total"] is not None:
        plain["shown_total"] = Decimal(plain["shown_total"])
    assert plain == {"lines": None} | checked.validated_data


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"shop": HIGHEST, "address": HIGHEST}, True),
        ({"shop": HIGHEST + 1}, False),
        ({"address": 0}, False),
        ({"lines": [LINE | {"quantity": 99, "options": [HIGHEST] * 50}] * 50}, True),
        ({"lines": [LINE] * 51}, False),
        ({"lines": [LINE | {"quantity": 100}]}, False),
        ({"lines": [LINE | {"options": [1] * 51}]}, False),
        ({"lines": [LINE | {"options": None}]}, False),
        ({"lines": []}, True),
        ({"lines": None, "deliver_at": None, "shown_total": None}, True),
        ({"note": "x" * 200, "tableware": 99}, True),
        ({"note": "x" * 201}, False),
        ({"note": None}, False),
        ({"note": "不要\n辣"}, True),
        ({"note": "a\0b"}, False),
        ({"note": " a"}, False),
        ({"note": "a\u3000"}, False),
        ({"tableware": 100}, False),
        ({"shown_total": "99999999.99"}, True),
        ({"shown_total": "999999999.99"}, False),
        ({"shown_total": "1.0"}, False),
    ],
)
def test_what_is_plain_it_takes_to_the_very_bounds(change: dict[str, Any], *, taken: bool) -> None:
    assert (read(ORDER | change) is not None) == taken


def declared(**fields: Any) -> type[serializers.Serializer[Any]]:
    return type("Declared", (serializers.Serializer,), fields)


def refuse(_value: Any) -> None:
    raise serializers.ValidationError("never")


@pytest.mark.parametrize(
    "fields",
    [
        {"site": serializers.URLField()},
        {"code": serializers.RegexField("^x$")},
        {"way": serializers.ChoiceField(["a"])},
        {"many": declared(n=serializers.IntegerField())(many=True)},
        {"n": serializers.IntegerField(validators=[refuse])},
        {"n": serializers.IntegerField(required=False)},
        {"raw": serializers.CharField(trim_whitespace=False)},
        {"price": serializers.DecimalField(10, 2)},
        {"price": serializers.DecimalField(10, 2, min_value=Decimal(0), max_value=Decimal(9))},
        {"n": serializers.IntegerField(), "validate": refuse},
        {"n": serializers.IntegerField(), "validate_n": refuse},
        {"nested": declared(n=serializers.IntegerField(), validate_n=refuse)()},
        {"list": serializers.ListField(child=serializers.JSONField())},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_what_it_could_not_check_is_no_decoder(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        decoder_of(declared(**fields))


def test_texts_and_lists_that_must_not_be_empty() -> None:
    decoder = decoder_of(
        declared(
            text=serializers.CharField(),
            many=serializers.ListField(child=serializers.IntegerField(), allow_empty=False),
        )
    )
    assert decoder.decode(b'{"text": "x", "many": [1]}').many == [1]
    for body in (b'{"text": "", "many": [1]}', b'{"text": "x", "many": []}', b'{"text": "x"}'):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(body)
