"""The API's door to what concerns a person and their orders at once."""

from __future__ import annotations

from typing import Any

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
