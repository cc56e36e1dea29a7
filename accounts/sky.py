"""The mini-program's door to accounts: the login by WeChat and the address book."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services
from accounts.serializers import WeChatRequest
from accounts.services import AddressInfo
from waimai.infra.api import caller_id
from waimai.infra.errors import NotFound
from waimai.infra.http import client_address
from waimai.infra.ratelimit import spend
from waimai.infra.sky import IdField, IdInput, PublicSkyView, SkyView, given, ok, read

# The client numbers its labels.
LABELS = {"1": "公司", "2": "家", "3": "学校"}
NUMBERS = {text: number for number, text in LABELS.items()}
NAMES = ("provinceName", "cityName", "districtName")
# What only the client knows of an address: it gets back what it sent.
KEPT = ("sex", "provinceCode", "provinceName", "cityCode", "cityName", "districtCode", "districtName")
PLACE = ("region", "detail")


class AnyText(serializers.CharField):
    """A text that may come as a number, or not at all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, allow_blank=True, **kwargs)


class AddressInput(serializers.Serializer[Any]):
    """An address as the client writes it; coordinates only if it has any."""

    consignee = serializers.CharField(max_length=32)
    phone = serializers.CharField(max_length=20)
    detail = serializers.CharField(max_length=200)
    label = AnyText(max_length=20)  # type: ignore[assignment]  # A field has a label, too.
    sex = AnyText(max_length=8)
    provinceCode = AnyText(max_length=16)
    provinceName = AnyText(max_length=32)
    cityCode = AnyText(max_length=16)
    cityName = AnyText(max_length=32)
    districtCode = AnyText(max_length=16)
    districtName = AnyText(max_length=32)
    isDefault = serializers.BooleanField(required=False, allow_null=True)
    latitude = serializers.FloatField(required=False, allow_null=True, min_value=-90, max_value=90)
    longitude = serializers.FloatField(required=False, allow_null=True, min_value=-180, max_value=180)


class AddressChange(AddressInput):
    """The same of one that is there."""

    id = IdField()


class LoginView(PublicSkyView):
    """A login."""

    def post(self, request: Request) -> Response:
        """Trade a code of `wx.login` for a token of two hours; an unknown person is registered."""
        spend("login", client_address(request))
        code = read(WeChatRequest, request.data)["code"]
        user = services.login_with_wechat(code=code, address=client_address(request))
        answer = ok({"id": user.pk, "openid": user.openid, "token": services.issue_lone_token(user)})
        answer["Cache-Control"] = "no-store"
        return answer


class AddressListView(SkyView):
    """The address book."""

    def get(self, request: Request) -> Response:
        """All addresses, newest first."""
        user_id = caller_id(request)
        return ok([address_document(each, user_id) for each in services.address_book(user_id=user_id)])


class DefaultAddressView(SkyView):
    """The default address."""

    def get(self, request: Request) -> Response:
        """Where to deliver unless told otherwise."""
        found = services.default_address(user_id=caller_id(request))
        if found is None:
            raise NotFound(_("没有查询到默认地址"))
        return ok(address_document(found, caller_id(request)))

    def put(self, request: Request) -> Response:
        """Deliver here from now on."""
        services.set_default_address(user_id=caller_id(request), address_id=read(IdInput, request.data)["id"])
        return ok()


class AddressBookView(SkyView):
    """A new address, a changed one, or one less."""

    def post(self, request: Request) -> Response:
        """Keep a new address; the first becomes the default."""
        sent = read(AddressInput, request.data)
        draft = services.AddressDraft(**_fields(sent), is_default=bool(sent.get("isDefault")))
        services.add_address(user_id=caller_id(request), draft=draft)
        return ok()

    def put(self, request: Request) -> Response:
        """Change an address: all of it, as it comes."""
        sent = read(AddressChange, request.data)
        address_id, changes = sent["id"], _fields(sent)
        known = services.get_address(user_id=caller_id(request), address_id=address_id)
        if None in (changes["latitude"], changes["longitude"]) and all(changes[x] == getattr(known, x) for x in PLACE):
            # Where a place is doesn't change with the telephone number.
            del changes["latitude"], changes["longitude"]
        if sent.get("isDefault"):
            changes["is_default"] = True
        services.change_address(user_id=caller_id(request), address_id=address_id, changes=changes)
        return ok()

    def delete(self, request: Request) -> Response:
        """Forget an address: `?id=3`, whatever the body says."""
        wanted = read(IdInput, given(request.query_params))["id"]
        services.delete_address(user_id=caller_id(request), address_id=wanted)
        return ok()


class AddressView(SkyView):
    """One of the caller's addresses."""

    def get(self, request: Request, address_id: int) -> Response:
        """One address; its number stands in the path, and once more behind it."""
        found = services.get_address(user_id=caller_id(request), address_id=address_id)
        return ok(address_document(found, caller_id(request)))


def address_document(address: AddressInfo, user_id: int) -> dict[str, Any]:
    """An address as the client shows it. One that was written elsewhere has its region in one piece."""
    kept = address.extra or {}
    if _region(kept) != address.region:
        kept = {"sex": kept.get("sex"), "provinceName": address.region}
    names = {name: kept.get(name) or "" for name in NAMES}
    return {
        "id": address.id,
        "userId": user_id,
        "consignee": address.contact_name,
        "phone": address.phone,
        **{name: kept.get(name) for name in KEPT},
        **names,
        "detail": address.detail,
        "label": NUMBERS.get(address.label, address.label) or None,
        "isDefault": int(address.is_default),
    }


def _fields(sent: dict[str, Any]) -> dict[str, Any]:
    """The client's words in ours."""
    label = sent.get("label") or ""
    return {
        "contact_name": sent["consignee"],
        "phone": sent["phone"],
        "region": _region(sent),
        "detail": sent["detail"],
        "label": LABELS.get(label, label),
        "latitude": sent.get("latitude"),
        "longitude": sent.get("longitude"),
        "extra": {name: sent[name] for name in KEPT if sent.get(name) is not None},
    }


def _region(names: dict[str, Any]) -> str:
    """Province, city and district in one; in a city that is its own province the name is said once."""
    return "".join(dict.fromkeys(str(names[name]) for name in NAMES if names.get(name)))
