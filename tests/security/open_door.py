"""The product's routes and two careless ones, to see that the tests find them."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from waimai import urls


@csrf_exempt
def careless(request: HttpRequest, **_ids: int) -> JsonResponse:
    """Asks nobody who they are."""
    return JsonResponse({"total": "63.00"})


urlpatterns = [
    path("api/v1/toys/<int:toy_id>/", careless),
    path("api/v1/orders/<int:order_id>/receipt/", careless),
    path("api/v1/turnover/", careless),
    path("api/v1/staff/orders/<int:order_id>/burn/", careless),
    *urls.urlpatterns,
]
handler404, handler500 = urls.handler404, urls.handler500
