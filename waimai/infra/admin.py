"""Admin pages for tables that stand on several databases: one is looked at at a time, and nothing is edited."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from waimai.infra import outbox, sharding
from waimai.infra.models import OutboxMessage


class DatabaseFilter(admin.SimpleListFilter):
    """Which database's rows are shown; the first until one is chosen."""

    title = _("数据库")
    parameter_name = "database"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The databases that have this table."""
        return [(alias, alias) for alias in model_admin.databases()]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """The databases, one of them chosen: there is no looking at all of them at once."""
        chosen = self.value() or self.lookup_choices[0][0]
        for alias, title in self.lookup_choices:
            link = changelist.get_query_string({self.parameter_name: alias})
            yield {"selected": alias == chosen, "query_string": link, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Nothing to filter: the list was read from the chosen database."""
        return queryset


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """A table to look at."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form to look at. Whatever is sent to it is refused before Django opens a transaction for it."""
        if request.method == "POST":
            raise PermissionDenied
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refused, likewise."""
        raise PermissionDenied


class ShardedAdmin(ReadOnlyAdmin):
    """A read-only list of a table that stands on several databases."""

    list_filter: ClassVar[Any] = [DatabaseFilter]
    show_full_result_count = False

    def databases(self) -> list[str]:
        """The databases that have this table."""
        return sharding.shards()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows of the chosen database."""
        chosen = request.GET.get(DatabaseFilter.parameter_name)
        alias = chosen if chosen in self.databases() else self.databases()[0]
        rows: QuerySet[Any] = self.model._default_manager.get_queryset().using(alias)
        return rows.order_by(*self.get_ordering(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model | None:
        """The row, looked for on every database: an id stands on one of them only."""
        for alias in self.databases():
            try:
                found: Model | None = (
                    self.model._default_manager.get_queryset().using(alias).filter(pk=object_id).first()
                )
            except (ValueError, TypeError, ValidationError):
                # No number of this table at all.
                return None
            if found is not None:
                return found
        return None


@admin.register(OutboxMessage)
class OutboxAdmin(ShardedAdmin):
    """Messages and why they were parked, with a button to run them again."""

    list_display = ("id", "topic", "key", "state", "attempts", "next_at", "error")
    list_filter: ClassVar[Any] = [DatabaseFilter, "state", "topic"]
    ordering = ("-created_at",)
    actions = ("run_again",)

    def databases(self) -> list[str]:
        """The outbox stands everywhere."""
        return sharding.databases()

    @admin.action(description=_("重新执行"), permissions=["run_again"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        """Give parked messages another round of tries."""
        wanted: list[uuid.UUID] = list(queryset.values_list("id", flat=True))
        count = outbox.revive(wanted, using=queryset.db)
        messages.info(request, ngettext("%d 条消息将重新执行", "%d 条消息将重新执行", count) % count)

    def has_run_again_permission(self, request: HttpRequest) -> bool:
        """For superusers."""
        return bool(request.user.is_superuser)
