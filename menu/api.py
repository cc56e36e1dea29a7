"""The API's view of shops and menus: open to everyone."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from menu import services
from menu.models import Kind, Weekday
from waimai.infra.api import KeysetPagination

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of a copy at hand"
)


class OpeningHoursSerializer(serializers.Serializer[Any]):
    """A span of the week; one that ends at or before its start ends on the next day."""

    weekday = serializers.ChoiceField(choices=Weekday.choices, help_text="0 is Monday")
    opens = serializers.TimeField(format="%H:%M")
    closes = serializers.TimeField(format="%H:%M")


class ShopSerializer(serializers.Serializer[Any]):
    """A shop and its terms."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    is_open = serializers.SerializerMethodField(help_text="Whether it takes orders at this moment")
    opens_at = serializers.SerializerMethodField(help_text="When it opens next; null when open, or closed by hand")
    opening_hours = OpeningHoursSerializer(many=True, help_text="Empty: always open")
    time_zone = serializers.CharField()
    notice = serializers.CharField()
    phone = serializers.CharField()
    address = serializers.CharField()
    latitude = serializers.FloatField(allow_null=True)
    longitude = serializers.FloatField(allow_null=True)
    delivery_fee = serializers.DecimalField(max_digits=10, decimal_places=2)
    packing_fee = serializers.DecimalField(max_digits=10, decimal_places=2, help_text="Per portion")
    minimum_order = serializers.DecimalField(max_digits=10, decimal_places=2)
    prep_minutes = serializers.IntegerField()
    delivery_area = serializers.DictField(allow_null=True, help_text="GeoJSON Polygon; null: everywhere")

    def get_is_open(self, shop: services.ShopInfo) -> bool:
        """By hand and by the clock."""
        return services.is_open_at(shop, timezone.now())

    def get_opens_at(self, shop: services.ShopInfo) -> str | None:
        """In the shop's own time."""
        opens_at = services.next_opening(shop, timezone.now())
        return opens_at.isoformat() if opens_at else None


class ShopPageSerializer(serializers.Serializer[Any]):
    """A page of shops."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ShopSerializer(many=True)


class OptionSerializer(serializers.Serializer[Any]):
    """An option and what it adds to the price."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    price_delta = serializers.DecimalField(max_digits=10, decimal_places=2)


class OptionGroupSerializer(serializers.Serializer[Any]):
    """A choice of at least `min` and at most `max` options."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    min = serializers.IntegerField()
    max = serializers.IntegerField()
    options = OptionSerializer(many=True)


class ComponentSerializer(serializers.Serializer[Any]):
    """A dish in a set meal."""

    item = serializers.IntegerField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()


class ItemSerializer(serializers.Serializer[Any]):
    """A dish or a set meal that is on sale."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    name = serializers.CharField()
    price = serializers.DecimalField(max_digits=10, decimal_places=2)
    image = serializers.CharField(help_text="A path on this host or a whole URL; empty: no picture")
    description = serializers.CharField()
    available = serializers.BooleanField(help_text="A hint: whether any portion is left")
    back_at = serializers.DateTimeField(allow_null=True, help_text="When what is sold out comes back, if that is known")
    option_groups = OptionGroupSerializer(many=True)
    components = ComponentSerializer(many=True)


class CategorySerializer(serializers.Serializer[Any]):
    """A heading of the menu."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    items = ItemSerializer(many=True)


class MenuSerializer(serializers.Serializer[Any]):
    """The whole menu of a shop."""

    categories = CategorySerializer(many=True)


class PublicView(APIView):
    """A view for everyone; a stale token in the request is no reason to refuse it."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class ShopList(PublicView):
    """Every shop."""

    @extend_schema(operation_id="shops_list", tags=["shops"], auth=[], responses=ShopPageSerializer)
    def get(self, request: Request) -> Response:
        """Shops, newest first, a page at a time."""
        pages = KeysetPagination()
        rows = pages.paginate_queryset(services.shops(), request, view=self) or []
        return pages.get_paginated_response(ShopSerializer([services.shop_info(row) for row in rows], many=True).data)


class ShopDetail(PublicView):
    """One shop."""

    @extend_schema(operation_id="shops_retrieve", tags=["shops"], auth=[], responses=ShopSerializer)
    def get(self, request: Request, shop_id: int) -> Response:
        """A shop, its terms, and whether it takes orders now."""
        return Response(ShopSerializer(services.get_shop(shop_id)).data)


class ShopMenu(PublicView):
    """The menu document."""

    @extend_schema(
        operation_id="shops_menu",
        tags=["shops"],
        auth=[],
        parameters=[IF_NONE_MATCH],
        responses={200: MenuSerializer, 304: OpenApiResponse(description="The copy at hand is the present menu")},
    )
    def get(self, request: Request, shop_id: int) -> HttpResponseBase:
        """The whole menu in one document, with an `ETag`."""
        document = services.menu_document(shop_id)
        response = HttpResponse(document.body, content_type="application/json")
        response["ETag"] = document.etag
        answer = get_conditional_response(request._request, etag=document.etag, response=response) or response
        # Anyone may keep it, and asks each time whether it still holds: an edit shows at once.
        patch_cache_control(answer, public=True, no_cache=True)
        return answer
