"""Routes of the staff's side: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from orders.desk import amend_api, api, ticket_views, views

api_patterns: list[URLPattern | URLResolver] = [
    path("staff/orders/", api.BoardView.as_view()),
    path("staff/orders/<int:order_id>/accept/", api.AcceptView.as_view()),
    path("staff/orders/<int:order_id>/reject/", api.RejectView.as_view()),
    path("staff/orders/<int:order_id>/deliver/", api.DeliverView.as_view()),
    path("staff/orders/<int:order_id>/complete/", api.CompleteView.as_view()),
    path("staff/orders/<int:order_id>/cancel/", api.WithdrawView.as_view()),
    path("staff/orders/<int:order_id>/amendments/", amend_api.AmendmentsView.as_view()),
]
page_patterns: list[URLPattern | URLResolver] = [
    path("board/", views.board, name="board"),
    path("board/kitchen/", views.kitchen, name="board_kitchen"),
    path("board/courier/", views.courier, name="board_courier"),
    path("board/today/", views.today, name="board_today"),
    path("board/dishes/", views.dishes, name="board_dishes"),
    path("board/dishes/<int:item_id>/", views.dish, name="board_dish"),
    path("board/shops/<int:shop_id>/", views.shop, name="board_shop"),
    path("board/orders/<int:order_id>/ticket/", ticket_views.ticket, name="board_ticket"),
    path("board/orders/<int:order_id>/amend/", views.amend, name="board_amend"),
    path("board/orders/<int:order_id>/<slug:action>/", views.act, name="board_act"),
    path("board/tickets/next/", ticket_views.next_ticket, name="board_next_ticket"),
]
