"""The API's door to accounts: logins, tokens, the profile, addresses."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import serializers as shapes
from accounts import services
from accounts.models import Address, User
from waimai.infra.api import KeysetPagination, read_idempotency_key, replayable
from waimai.infra.http import client_address
from waimai.infra.ratelimit import spend
from waimai.infra.schema import OPTIONAL_IDEMPOTENCY_KEY

# Tokens must not stay in any cache on the way.
NO_STORE = {"Cache-Control": "no-store"}


def _read(shape: type[serializers.Serializer[Any]], request: Request, *, partial: bool = False) -> dict[str, Any]:
    serializer = shape(data=request.data, partial=partial)
    serializer.is_valid(raise_exception=True)
    return cast(dict[str, Any], serializer.validated_data)


def _user(request: Request) -> User:
    return cast(User, request.user)


def _logged_in(user: User) -> Response:
    pair = services.issue_tokens(user)
    return Response({**asdict(pair), "user": shapes.UserProfile(services.profile_of(user)).data}, headers=NO_STORE)


class PublicView(APIView):
    """A call for anybody: a stale token in the header must not stop somebody from logging in."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Raise RateLimited for an address that calls too often, whatever it wants."""
        super().initial(request, *args, **kwargs)
        spend("login", client_address(request))


class SmsView(PublicView):
    """Codes by text message."""

    @extend_schema(tags=["auth"], request=shapes.SmsRequest, responses={202: shapes.SmsSent})
    def post(self, request: Request) -> Response:
        """Send a login code to a phone, known or not. 429 `rate_limited`, 503 `sms_not_sent`."""
        sent = services.send_code(phone=_read(shapes.SmsRequest, request)["phone"], address=client_address(request))
        return Response(asdict(sent), status=202)


class LoginView(PublicView):
    """Customers."""

    @extend_schema(tags=["auth"], request=shapes.LoginRequest, responses=shapes.LoggedIn)
    def post(self, request: Request) -> Response:
        """Log in with a phone and a code, which registers an unknown phone, or a password.

        401 `wrong_code` or `wrong_credentials`, 403 `account_disabled`, 429 `rate_limited`.
        """
        proof = _read(shapes.LoginRequest, request)
        login = services.login_with_code if "code" in proof else services.login_with_password
        return _logged_in(login(**proof, address=client_address(request)))


class WeChatLoginView(PublicView):
    """Customers in a mini-program."""

    @extend_schema(tags=["auth"], request=shapes.WeChatRequest, responses=shapes.LoggedIn)
    def post(self, request: Request) -> Response:
        """Log in with a code of `wx.login`, which registers an unknown person.

        401 `wrong_wechat_code`, 403 `account_disabled`, 429 `rate_limited`, 503 `wechat_unavailable`.
        """
        code = _read(shapes.WeChatRequest, request)["code"]
        return _logged_in(services.login_with_wechat(code=code, address=client_address(request)))


class StaffLoginView(PublicView):
    """Staff."""

    @extend_schema(tags=["auth"], request=shapes.StaffLoginRequest, responses=shapes.LoggedIn)
    def post(self, request: Request) -> Response:
        """Log in as staff.

        401 `wrong_credentials` (also for customers), `otp_required`, `wrong_otp`; 403 `account_disabled`, 429
        `rate_limited`.
        """
        proof = _read(shapes.StaffLoginRequest, request)
        return _logged_in(services.login_staff(**proof, address=client_address(request)))


class RefreshView(PublicView):
    """The next pair of tokens."""

    @extend_schema(tags=["auth"], request=shapes.RefreshRequest, responses=shapes.Tokens)
    def post(self, request: Request) -> Response:
        """Trade a refresh token for the next pair; it works once, also when two ask at once. 401 `invalid_token`."""
        return Response(asdict(services.rotate(**_read(shapes.RefreshRequest, request))), headers=NO_STORE)


class LogoutView(PublicView):
    """The end of a login."""

    @extend_schema(tags=["auth"], request=shapes.RefreshRequest, responses={204: None})
    def post(self, request: Request) -> Response:
        """Make a refresh token worthless; harmless twice. 401 `invalid_token` for a forged or expired one."""
        services.revoke(**_read(shapes.RefreshRequest, request))
        return Response(status=204)


class MeView(APIView):
    """The caller's profile."""

    @extend_schema(tags=["me"], responses=shapes.UserProfile)
    def get(self, request: Request) -> Response:
        """Who the caller is; `roles` tells what staff do in which shop."""
        return Response(shapes.UserProfile(services.profile_of(_user(request))).data)

    @extend_schema(tags=["me"], request=shapes.UserProfile, responses=shapes.UserProfile)
    def patch(self, request: Request) -> Response:
        """Change the nickname."""
        changes = _read(shapes.UserProfile, request, partial=True)
        return Response(shapes.UserProfile(services.update_profile(user_id=_user(request).pk, **changes)).data)


class WeChatPhoneView(APIView):
    """The caller's phone, as WeChat knows it."""

    @extend_schema(tags=["me"], request=shapes.WeChatRequest, responses=shapes.UserProfile)
    def post(self, request: Request) -> Response:
        """Take the phone behind a code of `getPhoneNumber` for the caller's, who has none yet.

        401 `wrong_wechat_code`, 409 `phone_taken` or `already_bound`, 503 `wechat_unavailable`.
        """
        spend("login", client_address(request))
        code = _read(shapes.WeChatRequest, request)["code"]
        profile = services.bind_phone(user_id=_user(request).pk, code=code, address=client_address(request))
        return Response(shapes.UserProfile(profile).data)


class PasswordView(APIView):
    """The caller's password."""

    @extend_schema(tags=["me"], request=shapes.PasswordRequest, responses=shapes.Tokens)
    def post(self, request: Request) -> Response:
        """Set or change the password. Every token made before ends; the answer is a new pair.

        401 `wrong_credentials` or `wrong_code`, 429 `rate_limited`.
        """
        change = _read(shapes.PasswordRequest, request)
        user = services.set_password(user_id=_user(request).pk, address=client_address(request), **change)
        return Response(asdict(services.issue_tokens(user)), headers=NO_STORE)


class AddressListView(GenericAPIView[Address]):
    """The caller's addresses."""

    pagination_class = KeysetPagination
    serializer_class = shapes.AddressBody

    @extend_schema(tags=["addresses"], operation_id="addresses_list", responses=shapes.AddressBody(many=True))
    def get(self, request: Request) -> Response:
        """The caller's addresses, newest first."""
        page = self.paginate_queryset(services.list_addresses(user_id=_user(request).pk))
        return self.get_paginated_response(shapes.AddressBody(page, many=True).data)

    @extend_schema(
        tags=["addresses"],
        operation_id="addresses_create",
        parameters=[OPTIONAL_IDEMPOTENCY_KEY],
        request=shapes.AddressBody,
        responses={201: shapes.AddressBody},
    )
    def post(self, request: Request) -> Response:
        """Keep a new address; the first becomes the default. 409 `too_many_addresses`."""
        draft = services.AddressDraft(**_read(shapes.AddressBody, request))
        key = read_idempotency_key(request, required=False)
        added = services.add_address(user_id=_user(request).pk, draft=draft, key=key)
        return replayable(shapes.AddressBody(added.address).data, status=201, replayed=added.replayed)


class AddressView(APIView):
    """One of the caller's addresses; anybody else's is 404."""

    @extend_schema(tags=["addresses"], responses=shapes.AddressBody)
    def get(self, request: Request, address_id: int) -> Response:
        """One address."""
        found = services.get_address(user_id=_user(request).pk, address_id=address_id)
        return Response(shapes.AddressBody(found).data)

    @extend_schema(tags=["addresses"], request=shapes.AddressBody, responses=shapes.AddressBody)
    def patch(self, request: Request, address_id: int) -> Response:
        """Change some fields. `is_default` can be turned on; another address turns it off."""
        changes = _read(shapes.AddressBody, request, partial=True)
        changed = services.change_address(user_id=_user(request).pk, address_id=address_id, changes=changes)
        return Response(shapes.AddressBody(changed).data)

    @extend_schema(tags=["addresses"], responses={204: None})
    def delete(self, request: Request, address_id: int) -> Response:
        """Forget an address; if it was the default, the newest of the others takes its place."""
        services.delete_address(user_id=_user(request).pk, address_id=address_id)
        return Response(status=204)
