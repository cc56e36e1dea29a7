"""Whose menu a person sees in the admin: that of the shops where he or she may, and nobody else's.

Django's permissions say what; they count in the shops of the role that brings them, or, where somebody holds them
besides, in the shops where he or she works. Superusers work everywhere, who works nowhere sees nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.admin import RelatedFieldListFilter
from django.core.exceptions import PermissionDenied
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.forms import ModelChoiceField
from django.http import Http404, HttpRequest

import accounts.services
from menu.models import Category, Item, Shop

EVERYTHING = Q()
SEEN = ("view", "change")
# Where what rows point to names its shop.
SHOP_OF: dict[Any, str] = {Shop: "pk", Category: "shop_id", Item: "shop_id"}


def _rights(request: HttpRequest) -> Mapping[str, frozenset[int]] | None:
    """The shops by permission, asked once a request; None means every shop."""
    known: Mapping[str, frozenset[int]] | None
    try:
        known = request._own_shops  # type: ignore[attr-defined]  # Kept for the request.
    except AttributeError:
        known = accounts.services.shops_by_permission(user_id=request.user.pk or 0)
        request._own_shops = known  # type: ignore[attr-defined]  # As above.
    return known


def own_shops(request: HttpRequest, model: Any, *verbs: str) -> frozenset[int] | None:
    """The shops where this person may do one of these with such rows; None means every shop."""
    known = _rights(request)
    if known is None:
        return None
    return frozenset[int]().union(*(known.get(f"{verb}_{model._meta.model_name}", ()) for verb in verbs))


def owned(request: HttpRequest, path: str, model: Any, *verbs: str) -> Q:
    """What limits rows to such shops; `path` leads from a row to its shop's number."""
    shops = own_shops(request, model, *verbs)
    return EVERYTHING if shops is None else Q(**{f"{path}__in": shops})


def shop_id_of(row: Any) -> int:
    """The shop that a row of the menu belongs to."""
    if isinstance(row, Shop):
        return row.pk
    return int(row.shop_id if hasattr(row, "shop_id") else row.item.shop_id)


# What follows are mixins: that `super()` is a page of the admin is what each `type: ignore[misc]` says.
class OwnShopsOnly:
    """A page or an inline that is there in the shops where this person may, and whose choices are of them."""

    model: Any

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Only shops, categories and items of shops where rows may be put; whatever else is sent is no choice."""
        path = SHOP_OF.get(db_field.related_model)
        if path is not None:
            verbs = ("add",) if request.path.endswith("/add/") else ("add", "change")
            limits = owned(request, path, self.model, *verbs)
            kwargs["queryset"] = db_field.related_model._default_manager.filter(limits)
        field: ModelChoiceField[Any] | None = super().formfield_for_foreignkey(  # type: ignore[misc]  # A mixin's.
            db_field, request, **kwargs
        )
        return field

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """In a shop where he or she may look; `obj` is the row, or what the inline belongs to."""
        return super().has_view_permission(request, obj) and self.there(request, obj, *SEEN)  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """In a shop where he or she may change such rows."""
        return super().has_change_permission(request, obj) and self.there(request, obj, "change")  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """In a shop where he or she may delete such rows."""
        return super().has_delete_permission(request, obj) and self.there(request, obj, "delete")  # type: ignore[misc]

    def there(self, request: HttpRequest, obj: Any, *verbs: str) -> bool:
        """Whether this person may do one of these in the shop of `obj`; without one, Django alone says."""
        shops = own_shops(request, self.model, *verbs)
        return obj is None or shops is None or shop_id_of(obj) in shops


class OwnInline(OwnShopsOnly):
    """Rows on the page of what they belong to."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """In a shop where he or she may add such rows."""
        return super().has_add_permission(request, obj) and self.there(request, obj, "add")  # type: ignore[misc]


class OwnRows(OwnShopsOnly):
    """A list of rows of this person's shops; others are not there."""

    shop_path: ClassVar[str] = "shop_id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of this person's shops."""
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # A mixin's.
        return rows.filter(owned(request, self.shop_path, self.model, *SEEN, "delete"))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model | None:
        """A row of this person's shops. Raises Http404 for another's, as for one that doesn't exist."""
        found: Model | None = super().get_object(request, object_id, from_field)  # type: ignore[misc]  # A mixin's.
        if found is None and _rights(request) is not None:
            raise Http404
        return found

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """On the page of a new row nobody knew its shop when the inlines were offered. Raises PermissionDenied."""
        shops = own_shops(request, formset.model, "add")
        if not change and formset.has_changed() and shops is not None and shop_id_of(form.instance) not in shops:
            raise PermissionDenied
        super().save_formset(request, form, formset, change)  # type: ignore[misc]  # A mixin's.

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *where: Any, **more: Any) -> Any:
        """Buttons press on what may be changed. Deletions are checked by Django, row by row."""
        if set(request.POST.getlist("action")) != {"delete_selected"}:
            queryset = queryset.filter(owned(request, self.shop_path, self.model, "change"))
        return super().response_action(request, queryset, *where, **more)  # type: ignore[misc]  # A mixin's.


class OwnRelatedFilter(RelatedFieldListFilter):
    """A filter that offers what belongs to this person's shops."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Shops, or what they have."""
        choices: list[tuple[str, Any]] = field.get_choices(
            include_blank=False,
            ordering=self.field_admin_ordering(field, request, model_admin),
            limit_choices_to=owned(request, SHOP_OF[field.related_model], model_admin.model, *SEEN),
        )
        return choices
