"""Routes of the staff's side: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from orders.desk import amend_api, api

api_patterns: list[URLPattern | URLResolver] = [
    path("staff/orders/", api.BoardView.as_view()),
    path("staff/orders/<int:order_id>/accept/", api.AcceptView.as_view()),
    path("staff/orders/<int:order_id>/reject/", api.RejectView.as_view()),
    path("staff/orders/<int:order_id>/deliver/", api.DeliverView.as_view()),
    path("staff/orders/<int:order_id>/complete/", api.CompleteView.as_view()),
    path("staff/orders/<int:order_id>/cancel/", api.WithdrawView.as_view()),
    path("staff/orders/<int:order_id>/amendments/", amend_api.AmendmentsView.as_view()),
]
page_patterns: list[URLPattern | URLResolver] = []
