"""What every page of the admin is made of: Unfold's classes, typed as the ones of Django that they extend."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Page, Paginator

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.helpers import ActionForm
    from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
    from django.forms import FileInput as FileWidget
    from django.forms import NumberInput as NumberWidget
    from django.forms import PasswordInput as PasswordWidget
    from django.forms import TextInput as TextWidget
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.forms import ActionForm, AdminPasswordChangeForm, UserChangeForm
    from unfold.forms import UserCreationForm as AdminUserCreationForm
    from unfold.widgets import UnfoldAdminFileFieldWidget as FileWidget
    from unfold.widgets import UnfoldAdminIntegerFieldWidget as NumberWidget
    from unfold.widgets import UnfoldAdminPasswordWidget as PasswordWidget
    from unfold.widgets import UnfoldAdminTextInputWidget as TextWidget

__all__ = [
    "ActionForm",
    "AdminPasswordChangeForm",
    "AdminUserCreationForm",
    "FileWidget",
    "ModelAdmin",
    "NumberWidget",
    "PasswordWidget",
    "TabularInline",
    "TextWidget",
    "UncountedPaginator",
    "UserChangeForm",
]


class UncountedPage(Page[Any]):
    """A page that may have one after it as long as it is full."""

    def has_next(self) -> bool:
        """Whether this one is full."""
        return len(self.object_list) == self.paginator.per_page


class UncountedPaginator(Paginator[Any]):
    """Pages of a table that grows with every order: nobody counts its rows, one goes on as long as pages are full."""

    template_name = "unfold/helpers/pagination_infinite.html"

    @cached_property
    def count(self) -> int:
        """More than anybody turns pages for. Never shown."""
        return 10**9

    def _get_page(self, *args: Any, **kwargs: Any) -> UncountedPage:
        return UncountedPage(*args, **kwargs)
