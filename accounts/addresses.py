"""Delivery addresses. While a user has any, exactly one is the default.

Every change first locks the user's row, so that one person's changes run one after the other on MySQL; on SQLite the
transaction itself does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.errors import TooManyAddresses
from accounts.models import Address, User
from waimai.infra import idempotency
from waimai.infra.db import run_atomic
from waimai.infra.errors import NotFound, ValidationFailed
from waimai.infra.sharding import DEFAULT

T = TypeVar("T")
ADDRESSES_PER_USER = 50
ROUTE = "addresses"
TEXTS = ("contact_name", "phone", "region", "detail", "label")
DEGREES = ("latitude", "longitude")
PLACES = Decimal("0.000001")  # six decimals of a degree are about ten centimetres


@dataclass(frozen=True, kw_only=True)
class AddressInfo:
    """An address as other apps see it; coordinates in degrees (WGS 84), both or neither."""

    id: int
    contact_name: str
    phone: str
    region: str
    detail: str
    label: str
    latitude: float | None
    longitude: float | None
    is_default: bool = False
    # What a door keeps for its own client beside it.
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class AddressDraft:
    """What somebody enters for a new address."""

    contact_name: str
    phone: str
    detail: str
    region: str = ""
    label: str = ""
    latitude: float | Decimal | None = None
    longitude: float | Decimal | None = None
    is_default: bool = False
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class AddedAddress:
    """A new address, or the one that the same key made before."""

    address: AddressInfo
    replayed: bool


def list_addresses(*, user_id: int) -> QuerySet[Address]:
    """The user's addresses, newest first."""
    return Address.objects.filter(user_id=user_id).order_by("-pk")


def address_book(*, user_id: int) -> list[AddressInfo]:
    """The same, as other apps see them."""
    return [_info(row) for row in list_addresses(user_id=user_id)]


def get_address(*, user_id: int, address_id: int) -> AddressInfo:
    """One address of this user. Raises NotFound, also for somebody else's."""
    return _info(_own(user_id, address_id))


def get_addresses(*, owners: Mapping[int, int]) -> dict[int, AddressInfo]:
    """Many addresses in one query; `owners` maps address id to the user who claims it. Others' are left out."""
    rows = Address.objects.filter(pk__in=list(owners))
    return {row.pk: _info(row) for row in rows if row.user_id == owners[row.pk]}


def default_address(*, user_id: int) -> AddressInfo | None:
    """The user's default address, or None while there is no address at all."""
    row = Address.objects.filter(user_id=user_id, is_default=True).first()
    return None if row is None else _info(row)


def add_address(*, user_id: int, draft: AddressDraft, key: str | None = None) -> AddedAddress:
    """Keep a new address; the first one becomes the default. The same `key` returns what it made the first time.

    Raises ValidationFailed, TooManyAddresses, IdempotencyKeyReused; NotFound when the key's address was deleted since.
    """
    print_ = idempotency.fingerprint(ROUTE, _entered(draft))

    def body() -> AddedAddress:
        made = _made_by(user_id, key, print_)
        if made is not None:
            return AddedAddress(address=get_address(user_id=user_id, address_id=made), replayed=True)
        row = _insert(user_id, draft)
        if key is not None:
            idempotency.claim(user_id=user_id, key=key, route=ROUTE, fingerprint=print_, ref_id=row.pk, using=DEFAULT)
        return AddedAddress(address=_info(row), replayed=False)

    return _alone(user_id, body)


def change_address(*, user_id: int, address_id: int, changes: Mapping[str, Any]) -> AddressInfo:
    """Change some fields of an address; `is_default` can only be turned on, as another one must take its place.

    Raises NotFound, ValidationFailed; KeyError for a field that an address doesn't have.
    """

    def body() -> AddressInfo:
        row = _own(user_id, address_id)
        default = changes.get("is_default", row.is_default)
        if row.is_default and not default:
            raise ValidationFailed(errors={"is_default": [_("请把另一个地址设为默认地址")]})
        fields = {name: value for name, value in changes.items() if name != "is_default"}
        _fill(row, fields)
        row.save(update_fields=list(fields))
        if default and not row.is_default:
            _make_default(row)
        return _info(row)

    return _alone(user_id, body)


def set_default_address(*, user_id: int, address_id: int) -> AddressInfo:
    """Deliver here unless told otherwise. Raises NotFound."""
    return change_address(user_id=user_id, address_id=address_id, changes={"is_default": True})


def delete_address(*, user_id: int, address_id: int) -> None:
    """Forget an address; if it was the default, the newest of the others takes its place. Raises NotFound."""

    def body() -> None:
        row = _own(user_id, address_id)
        row.delete()
        newest = list_addresses(user_id=user_id).first() if row.is_default else None
        if newest is not None:
            _make_default(newest)

    _alone(user_id, body)


def _alone(user_id: int, body: Callable[[], T]) -> T:
    def locked() -> T:
        # Read to the end: an unread locking query locks nothing. The account may have been closed meanwhile.
        if not User.objects.select_for_update().filter(pk=user_id, is_active=True).values_list("pk").first():
            raise NotFound
        return body()

    return run_atomic(DEFAULT, locked)


def _own(user_id: int, address_id: int) -> Address:
    row = Address.objects.filter(user_id=user_id, pk=address_id).first()
    if row is None:
        raise NotFound
    return row


def _made_by(user_id: int, key: str | None, print_: str) -> int | None:
    if key is None:
        return None
    return idempotency.find(user_id=user_id, key=key, route=ROUTE, fingerprint=print_, using=DEFAULT)


def _insert(user_id: int, draft: AddressDraft) -> Address:
    count = Address.objects.filter(user_id=user_id).count()
    if count >= ADDRESSES_PER_USER:
        raise TooManyAddresses(limit=ADDRESSES_PER_USER)
    row = Address(user_id=user_id)
    _fill(row, {name: value for name, value in _entered(draft).items() if name != "is_default"})
    row.save(force_insert=True)
    if draft.is_default or count == 0:
        _make_default(row)
    return row


def _entered(draft: AddressDraft) -> dict[str, Any]:
    """What was entered; without `extra` it is what it was before there was any."""
    entered = asdict(draft)
    return entered if draft.extra is not None else {name: entered[name] for name in entered if name != "extra"}


def _make_default(row: Address) -> None:
    Address.objects.filter(user_id=row.user_id, is_default=True).exclude(pk=row.pk).update(is_default=False)
    row.is_default = True
    row.save(update_fields=["is_default"])


def _fill(row: Address, fields: Mapping[str, Any]) -> None:
    """Put checked values into a row that isn't saved yet. Raises ValidationFailed, naming each wrong field."""
    for name, value in fields.items():
        setattr(row, name, _cleaned(name, value))
    try:
        row.clean_fields(exclude=["user", "is_default"])
        row.clean()
    except ValidationError as error:
        raise ValidationFailed(errors=error.message_dict) from error


def _cleaned(name: str, value: Any) -> str | Decimal | dict[str, Any] | None:
    if name in TEXTS:
        return str(value).strip()
    if name in DEGREES:
        return _degrees(name, value)
    if name == "extra":
        return dict(value or {}) or None
    raise KeyError(name)


def _degrees(name: str, value: float | Decimal | None) -> Decimal | None:
    if value is None:
        return None
    # Bounded before rounding: quantize refuses numbers that are too long, and no comparison refuses NaN.
    if not math.isfinite(value) or abs(float(value)) > 180:
        raise ValidationFailed(errors={name: [_("坐标不正确")]})
    return Decimal(str(value)).quantize(PLACES)


def _info(row: Address) -> AddressInfo:
    return AddressInfo(
        id=row.pk,
        contact_name=row.contact_name,
        phone=row.phone,
        region=row.region,
        detail=row.detail,
        label=row.label,
        latitude=None if row.latitude is None else float(row.latitude),
        longitude=None if row.longitude is None else float(row.longitude),
        is_default=row.is_default,
        extra=row.extra,
    )
