"""Whose menu a person sees in the admin: that of the shops where he or she works, and nobody else's.

What Django's permissions allow they allow there only. Superusers work everywhere, who works nowhere sees nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.admin import RelatedFieldListFilter
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.forms import ModelChoiceField
from django.http import Http404, HttpRequest

import accounts.services
from menu.models import Category, Item, Shop

EVERYTHING = Q()
# Where what rows point to names its shop.
SHOP_OF: dict[Any, str] = {Shop: "pk", Category: "shop_id", Item: "shop_id"}


def own_shops(request: HttpRequest) -> frozenset[int] | None:
    """The shops where this person works, asked once a request; None means every shop."""
    known: frozenset[int] | None
    try:
        known = request._own_shops  # type: ignore[attr-defined]  # Kept for the request.
    except AttributeError:
        known = accounts.services.shops_of_staff(user_id=request.user.pk or 0)
        request._own_shops = known  # type: ignore[attr-defined]  # As above.
    return known


def owned(request: HttpRequest, path: str) -> Q:
    """What limits rows to this person's shops; `path` leads from a row to its shop's number."""
    shops = own_shops(request)
    return EVERYTHING if shops is None else Q(**{f"{path}__in": shops})


class OwnShopsOnly:
    """A page or an inline whose choices are of this person's shops."""

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Only the shops, categories and items of this person's shops; whatever else is sent is no choice."""
        path = SHOP_OF.get(db_field.related_model)
        if path is not None:
            kwargs["queryset"] = db_field.related_model._default_manager.filter(owned(request, path))
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]  # A mixin's.
            db_field, request, **kwargs
        )
        return field


class OwnRows(OwnShopsOnly):
    """A list of rows of this person's shops; others are not there."""

    shop_path: ClassVar[str] = "shop_id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of this person's shops."""
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # A mixin's.
        return rows.filter(owned(request, self.shop_path))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model | None:
        """A row of this person's shops. Raises Http404 for another's, as for one that doesn't exist."""
        found: Model | None = super().get_object(request, object_id, from_field)  # type: ignore[misc]  # A mixin's.
        if found is None and own_shops(request) is not None:
            raise Http404
        return found


class OwnRelatedFilter(RelatedFieldListFilter):
    """A filter that offers what belongs to this person's shops."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Shops, or what they have."""
        choices: list[tuple[str, Any]] = field.get_choices(
            include_blank=False,
            ordering=self.field_admin_ordering(field, request, model_admin),
            limit_choices_to=owned(request, SHOP_OF[field.related_model]),
        )
        return choices
