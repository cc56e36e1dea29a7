"""Routes of the accounts app: `api_patterns` are mounted under /api/v1/, `page_patterns` under /."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from accounts import api, live_api, views

api_patterns: list[URLPattern | URLResolver] = [
    path("auth/sms/", api.SmsView.as_view(), name="api_auth_sms"),
    path("auth/login/", api.LoginView.as_view(), name="api_auth_login"),
    path("auth/staff/login/", api.StaffLoginView.as_view(), name="api_auth_staff_login"),
    path("auth/refresh/", api.RefreshView.as_view(), name="api_auth_refresh"),
    path("auth/logout/", api.LogoutView.as_view(), name="api_auth_logout"),
    path("auth/live-ticket/", live_api.LiveTicketView.as_view(), name="api_live_ticket"),
    path("me/", api.MeView.as_view(), name="api_me"),
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
