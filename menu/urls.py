"""Routes of the menu app: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from menu import api, sky, views

api_patterns: list[URLPattern | URLResolver] = [
    path("shops/", api.ShopList.as_view(), name="api_shops"),
    path("shops/<int:shop_id>/", api.ShopDetail.as_view(), name="api_shop"),
    path("shops/<int:shop_id>/menu/", api.ShopMenu.as_view(), name="api_shop_menu"),
]
page_patterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("shops/<int:shop_id>/", views.shop_menu, name="shop_menu"),
    path("shops/<int:shop_id>/items/<int:item_id>/", views.menu_item, name="menu_item"),
]
sky_patterns: list[URLPattern | URLResolver] = [
    path("user/shop/status", sky.StatusView.as_view()),
    path("user/shop/getMerchantInfo", sky.MerchantView.as_view()),
    path("user/order/getEstimatedDeliveryTime", sky.DeliveryTimeView.as_view()),
    path("user/category/list", sky.CategoryListView.as_view()),
    path("user/dish/list", sky.DishListView.as_view()),
    path("user/setmeal/list", sky.SetMealListView.as_view()),
    path("user/setmeal/dish/<int:item_id>", sky.SetMealDishesView.as_view()),
]
