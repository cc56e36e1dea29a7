"""What every page of the admin is made of: Unfold's classes, typed as the ones of Django that they extend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


class Searching(AutocompleteSelect):
    """A row that is searched for."""

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> list[Any]:
        """What is chosen. Django would ask the database for a row of whatever was sent, and fall over it."""
        numbers = [each for each in value if each.isascii() and each.isdigit() and len(each) < LONGER_THAN_AN_ID]
        groups: list[Any] = super().optgroups(name, numbers, attr)
        return groups


if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.helpers import ActionForm
    from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
    from django.forms import FileInput as FileWidget
    from django.forms import NumberInput as NumberWidget
    from django.forms import PasswordInput as PasswordWidget
    from django.forms import TextInput as TextWidget
else:
    from unfold.admin import ModelAdmin as Sheet
    from unfold.admin import TabularInline as Table
    from unfold.forms import ActionForm, AdminPasswordChangeForm, UserChangeForm
    from unfold.forms import UserCreationForm as AdminUserCreationForm
    from unfold.widgets import UnfoldAdminFileFieldWidget as FileWidget
    from unfold.widgets import UnfoldAdminIntegerFieldWidget as NumberWidget
    from unfold.widgets import UnfoldAdminPasswordWidget as PasswordWidget
    from unfold.widgets import UnfoldAdminTextInputWidget as TextWidget

    class Searched:
        """What has fields to search in."""

        def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
            """The field, with our widget where one searches."""
            if db_field.name in self.get_autocomplete_fields(request):
                kwargs.setdefault("widget", Searching(db_field, self.admin_site, using=kwargs.get("using")))
            return super().formfield_for_foreignkey(db_field, request, **kwargs)

    class ModelAdmin(Searched, Sheet):
        """A page."""

    class TabularInline(Searched, Table):
        """Rows whose fields have names: the headings of the table name them only to who sees where they stand."""

        def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
            """The field, which says its name."""
            field = super().formfield_for_dbfield(db_field, request, **kwargs)
            if field is not None:
                field.widget.attrs["aria-label"] = field.label
            return field


__all__ = [
    "ActionForm",
    "AdminPasswordChangeForm",
    "AdminUserCreationForm",
    "FileWidget",
    "Growing",
    "ModelAdmin",
    "NumberWidget",
    "PasswordWidget",
    "TabularInline",
    "TextWidget",
    "UserChangeForm",
    "coloured",
    "link_to",
]

LONGER_THAN_AN_ID = 19
F = TypeVar("F", bound=Callable[..., Any])


def coloured(colours: Mapping[str, str]) -> Callable[[F], F]:
    """For a column that answers (value, text): Unfold shows the text as a label, coloured by the value."""

    def mark(column: F) -> F:
        column.label = colours  # type: ignore[attr-defined]  # How Unfold wants it.
        return column

    return mark


def link_to(model: str, key: int | str) -> SafeString:
    """The way to a row's page; `model` as in `orders_order`. Doors of one app know others' pages by name only."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=[key]), key)


class UncountedPage(Page[Any]):
    """A page that may have one after it as long as it is full."""

    def has_next(self) -> bool:
        """Whether this one is full."""
        return len(self.object_list) == self.paginator.per_page


class InfinitePaginator(Paginator[Any]):
    """Pages of a table that grows with every order: nobody counts its rows, one goes on as long as pages are full.

    Unfold's templates know it by this name.
    """

    template_name = "unfold/helpers/pagination_infinite.html"

    @cached_property
    def count(self) -> int:
        """More than anybody turns pages for. Never shown."""
        return 10**9

    def _get_page(self, *args: Any, **kwargs: Any) -> UncountedPage:
        return UncountedPage(*args, **kwargs)


class Growing:
    """A list of a table that grows with every order."""

    show_full_result_count = False
    paginator: Any = InfinitePaginator
    list_disable_select_all = True

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, which doesn't say how many there are."""
        answer: HttpResponse = super().changelist_view(  # type: ignore[misc]  # A mixin's.
            request, {"selection_note_all": "", **(extra_context or {})}
        )
        return answer
