"""Routes of the accounts app: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from accounts import api, live_api, sky, views, wechat_simulator

api_patterns: list[URLPattern | URLResolver] = [
    path("auth/sms/", api.SmsView.as_view(), name="api_auth_sms"),
    path("auth/login/", api.LoginView.as_view(), name="api_auth_login"),
    path("auth/wechat/", api.WeChatLoginView.as_view(), name="api_auth_wechat"),
    path("auth/staff/login/", api.StaffLoginView.as_view(), name="api_auth_staff_login"),
    path("auth/refresh/", api.RefreshView.as_view(), name="api_auth_refresh"),
    path("auth/logout/", api.LogoutView.as_view(), name="api_auth_logout"),
    path("auth/live-ticket/", live_api.LiveTicketView.as_view(), name="api_live_ticket"),
    path("me/", api.MeView.as_view(), name="api_me"),
    path("me/wechat-phone/", api.WeChatPhoneView.as_view(), name="api_me_wechat_phone"),
    path("me/password/", api.PasswordView.as_view(), name="api_me_password"),
    path("addresses/", api.AddressListView.as_view(), name="api_addresses"),
    path("addresses/<int:address_id>/", api.AddressView.as_view(), name="api_address"),
]
page_patterns: list[URLPattern | URLResolver] = [
    path("login/", views.login, name="login"),
    path("login/code/", views.login_code, name="login_code"),
    path("logout/", views.logout, name="logout"),
    path("me/", views.me, name="me"),
    path("me/password/", views.me_password, name="me_password"),
    path("me/password/code/", views.me_password_code, name="me_password_code"),
    path("addresses/", views.addresses, name="addresses"),
    path("addresses/new/", views.address_new, name="address_new"),
    path("addresses/<int:address_id>/", views.address_edit, name="address_edit"),
    path("addresses/<int:address_id>/delete/", views.address_delete, name="address_delete"),
    path("addresses/<int:address_id>/default/", views.address_default, name="address_default"),
]
# What the published mini-program calls (docs/mini-program.md): its own spelling, without a prefix.
sky_patterns: list[URLPattern | URLResolver] = [
    path("user/user/login", sky.LoginView.as_view()),
    path("user/addressBook/list", sky.AddressListView.as_view()),
    path("user/addressBook/default", sky.DefaultAddressView.as_view()),
    path("user/addressBook/<int:address_id>", sky.AddressView.as_view()),
    # It deletes at `/user/addressBook/?id=3`.
    path("user/addressBook", sky.AddressBookView.as_view()),
    path("user/addressBook/", sky.AddressBookView.as_view()),
]
# Stands for WeChat's server in development.
simulator_patterns: list[URLPattern | URLResolver] = [
    path("wechat-simulator/sns/jscode2session", wechat_simulator.code_to_session),
    path("wechat-simulator/cgi-bin/token", wechat_simulator.token),
    path("wechat-simulator/wxa/business/getuserphonenumber", wechat_simulator.phone_number),
]
