"""Routes of the orders app: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from orders import (
    amend_api,
    amend_views,
    api,
    cart_sky,
    cart_views,
    checkout_views,
    person_api,
    person_views,
    sky,
    views,
)

api_patterns: list[URLPattern | URLResolver] = [
    path("shops/<int:shop_id>/cart/", api.ShopCartView.as_view()),
    path("shops/<int:shop_id>/cart/lines/", api.CartLinesView.as_view()),
    path("shops/<int:shop_id>/cart/lines/<int:line_id>/", api.CartLineView.as_view()),
    path("me/wechat/", person_api.WeChatView.as_view()),
    path("me/data/", person_api.MyDataView.as_view()),
    path("me/close/", person_api.CloseView.as_view()),
    path("orders/", api.OrdersView.as_view()),
    path("orders/<int:order_id>/", api.OrderView.as_view()),
    path("orders/<int:order_id>/pay/", api.PayView.as_view()),
    path("orders/<int:order_id>/cancel/", api.CancelView.as_view()),
    path("orders/<int:order_id>/remind/", api.RemindView.as_view()),
    path("orders/<int:order_id>/reorder/", api.ReorderView.as_view()),
    path("orders/<int:order_id>/amendments/<int:n>/", amend_api.AnswerView.as_view()),
]
page_patterns: list[URLPattern | URLResolver] = [
    path("cart/", cart_views.my_cart, name="my_cart"),
    path("shops/<int:shop_id>/cart/", cart_views.cart, name="cart"),
    path("shops/<int:shop_id>/cart/add/", cart_views.cart_add, name="cart_add"),
    path("shops/<int:shop_id>/cart/clear/", cart_views.cart_clear, name="cart_clear"),
    path("shops/<int:shop_id>/cart/restore/", cart_views.cart_restore, name="cart_restore"),
    path("shops/<int:shop_id>/cart/lines/<int:line_id>/", cart_views.cart_line, name="cart_line"),
    path("shops/<int:shop_id>/checkout/", checkout_views.checkout, name="checkout"),
    path("shops/<int:shop_id>/checkout/area/", checkout_views.checkout_area, name="checkout_area"),
    path("orders/", views.order_list, name="order_list"),
    path("orders/<int:order_id>/", views.order_detail, name="order_detail"),
    path("orders/<int:order_id>/status/", views.order_status, name="order_status"),
    path("orders/<int:order_id>/number/", views.order_number, name="order_number"),
    path("me/data/", person_views.my_data, name="my_data"),
    path("me/close/", person_views.close_account, name="close_account"),
    path("s/<str:token>/", views.shared_order, name="shared_order"),
    path("orders/<int:order_id>/pay/", views.order_pay, name="order_pay"),
    path("orders/<int:order_id>/cancel/", views.order_cancel, name="order_cancel"),
    path("orders/<int:order_id>/remind/", views.order_remind, name="order_remind"),
    path("orders/<int:order_id>/reorder/", views.order_reorder, name="order_reorder"),
    path("orders/<int:order_id>/amendments/<int:n>/", amend_views.order_amendment, name="order_amendment"),
]
sky_patterns: list[URLPattern | URLResolver] = [
    path("user/shoppingCart/add", cart_sky.CartAddView.as_view()),
    path("user/shoppingCart/sub", cart_sky.CartSubView.as_view()),
    path("user/shoppingCart/list", cart_sky.CartListView.as_view()),
    path("user/shoppingCart/clean", cart_sky.CartCleanView.as_view()),
    path("user/order/submit", sky.SubmitView.as_view()),
    path("user/order/payment", sky.PaymentView.as_view()),
    path("user/order/historyOrders", sky.HistoryView.as_view()),
    # The same page, asked for by the state of the money.
    path("user/order/queryOrdersCheckStatus", sky.HistoryView.as_view()),
    path("user/order/orderDetail/<int:order_id>", sky.OrderView.as_view()),
    path("user/order/cancel/<int:order_id>", sky.CancelView.as_view()),
    path("user/order/reminder/<int:order_id>", sky.ReminderView.as_view()),
    path("user/order/repetition/<int:order_id>", sky.RepetitionView.as_view()),
]
