"""The API's door to what concerns a person and their orders at once."""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import services
from waimai.infra.api import TextField, caller_id, validated
from waimai.infra.http import client_address
from waimai.infra.ratelimit import spend


class BindWeChatInput(serializers.Serializer[Any]):
    """A code of `wx.login`, and a proof that the account is the caller's: its password, or a code to its phone."""

    code = TextField(max_length=128)
    current_password = TextField(
        required=False, max_length=128, trim_whitespace=False, style={"input_type": "password"}
    )
    sms_code = serializers.RegexField(r"\A[0-9]{6}\Z", required=False)


class BoundOutput(serializers.Serializer[Any]):
    """Whose WeChat it is now."""

    id = serializers.IntegerField()
    phone = serializers.CharField(allow_null=True)
    nickname = serializers.CharField()


class WeChatView(APIView):
    """The caller's WeChat."""

    @extend_schema(tags=["me"], request=BindWeChatInput, responses=BoundOutput)
    def post(self, request: Request) -> Response:
        """Let the WeChat behind a code of `wx.login` open the caller's account.

        An account that it had before is closed, if that has no phone, no password and no order. 401
        `wrong_wechat_code`, `wrong_credentials` or `wrong_code`, 409 `wechat_taken` or `already_bound`.
        """
        spend("login", client_address(request))
        sent = validated(BindWeChatInput, request)
        profile = services.bind_wechat(user_id=caller_id(request), address=client_address(request), **sent)
        return Response({"id": profile.id, "phone": profile.phone, "nickname": profile.nickname})


class CloseInput(serializers.Serializer[Any]):
    """Who it is, once more: the password, a code sent to the account's phone, or one of `wx.login`."""

    current_password = TextField(
        required=False, max_length=128, trim_whitespace=False, style={"input_type": "password"}
    )
    code = serializers.RegexField(r"\A[0-9]{6}\Z", required=False)
    wechat_code = TextField(required=False, max_length=128)


class CloseView(APIView):
    """The end of an account."""

    @extend_schema(tags=["me"], request=CloseInput, responses={204: None})
    def post(self, request: Request) -> Response:
        """Close the caller's account for good; its orders become anonymous within hours.

        401 `wrong_credentials`, `wrong_code` or `wrong_wechat_code`, 403 for staff, 409 `orders_under_way`.
        """
        spend("login", client_address(request))
        proof = validated(CloseInput, request)
        services.close_account(user_id=caller_id(request), address=client_address(request), **proof)
        return Response(status=204)


class MyDataView(APIView):
    """All that is kept about the caller."""

    @extend_schema(tags=["me"], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> StreamingHttpResponse:
        """The profile, the addresses, the cart, and every order with its payments and refunds, newest first."""
        pieces = services.my_data(user_id=caller_id(request))
        first = next(pieces)
        return StreamingHttpResponse(
            chain([first], pieces), content_type="application/json", headers={"Cache-Control": "no-store"}
        )
