"""Who Django's own login forms (the admin's) let in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import services
from accounts.models import User
from waimai.infra.errors import DomainError
from waimai.infra.http import client_address


class StaffBackend(ModelBackend):
    """Staff by username and password, counted against the same limits as every other login."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """The member of staff, or None; the form's one sentence for every refusal is what we want."""
        if username is None or password is None:
            return None
        address = "" if request is None else client_address(request)
        try:
            return services.login_staff(username=username, password=password, address=address)
        except DomainError:
            return None
