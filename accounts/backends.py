"""Who Django's own login forms (the admin's) let in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import Token

from accounts import services
from accounts.errors import InvalidToken
from accounts.models import User
from accounts.staff import permissions_by_role
from waimai.infra.errors import DomainError
from waimai.infra.http import client_address


class StaffBackend(ModelBackend):
    """Staff by username and password, counted against the same limits as every other login."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        otp: str = "",
        **kwargs: Any,
    ) -> User | None:
        """The member of staff, or None; the form's one sentence for every refusal is what we want."""
        if username is None or password is None:
            return None
        address = "" if request is None else client_address(request)
        try:
            return services.login_staff(username=username, password=password, address=address, otp=otp)
        except DomainError:
            return None

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Those of roles too: in which shop each counts is up to the page (`menu/own_admin.py`)."""
        found: set[str] = set(super().get_group_permissions(user_obj, obj))
        if obj is not None or not isinstance(user_obj, User) or user_obj.is_superuser:
            return found
        return found | permissions_by_role(user_obj)


class TokenScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]
    """How the OpenAPI document calls it."""

    target_class = "accounts.backends.TokenAuthentication"
    name = "jwtAuth"


class TokenAuthentication(JWTAuthentication):
    """Access tokens on the API; user, password and session are looked up in one query, so that their end is at once."""

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]  # Ours is the only kind there is.
        """Whose token it is. Raises AuthenticationFailed."""
        try:
            return services.user_of(validated_token)
        except InvalidToken as error:
            raise AuthenticationFailed(str(error.detail)) from error
