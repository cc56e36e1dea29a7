"""Admin pages for tables that stand on several databases: one is looked at at a time, and nothing is edited.

And what every button of the admin goes through: who pressed it, on what, when and how it went is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, override

from waimai.infra import outbox, sharding
from waimai.infra.admin_base import LONGER_THAN_AN_ID, Growing, ModelAdmin
from waimai.infra.breaker import State, breakers
from waimai.infra.errors import DomainError
from waimai.infra.models import Breaker, OutboxMessage

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

M = TypeVar("M", bound=Model)
DONE, NOTHING_TO_DO = _("完成"), _("无需处理")


def record(request: HttpRequest, rows: Iterable[Model], button: StrOrPromise, outcome: StrOrPromise = DONE) -> None:
    """Write into the admin's log (`LogEntry`) that this person pressed this button on these rows, and how it went."""
    with override(settings.LANGUAGE_CODE):
        LogEntry.objects.log_actions(request.user.pk, list(rows), CHANGE, f"{button}: {outcome}")  # type: ignore[arg-type]


def press(request: HttpRequest, rows: Iterable[M], button: StrOrPromise, do: Callable[[M], object]) -> int:
    """Do something to each row and record it; returns to how many it was done.

    `do` returns False where there was nothing to do. One that refuses (DomainError) says why and holds up nobody.
    """
    done = 0
    for row in rows:
        try:
            acted = do(row) is not False
        except DomainError as refusal:
            why: Any = next(iter((refusal.errors or {}).values()), [refusal.detail])[0]
            messages.error(request, f"{row.pk}: {why}")
            record(request, [row], button, why)
        except Exception as error:
            record(request, [row], button, repr(error))
            raise
        else:
            done += acted
            record(request, [row], button, DONE if acted else NOTHING_TO_DO)
    return done


def as_id(term: str) -> int | None:
    """The number of an order, payment or refund that somebody typed; None for anything else."""
    text = term.strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < LONGER_THAN_AN_ID else 0
    return number or None


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


class KnownValues(admin.SimpleListFilter):
    """By a column whose values are known: Django would read them out of the whole table."""

    known: ClassVar[Callable[[], Iterable[tuple[str, StrOrPromise]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, StrOrPromise]]:
        """The known values."""
        return list(type(self).known())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the chosen one."""
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class TopicFilter(KnownValues):
    """By what a message tells of."""

    title, parameter_name = _("主题"), "topic"
    known = staticmethod(lambda: ((topic, topic) for topic in outbox.topics()))


class ReadOnlyAdmin(ModelAdmin[Any]):
    """A table to look at, perhaps with buttons (actions with `permissions=["operate"]`)."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may press its buttons: who has Django's permission to change such rows. The rows are edited by nobody."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")

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


class ShardedAdmin(Growing, ReadOnlyAdmin):
    """A read-only list of a table that stands on several databases."""

    list_filter: ClassVar[Any] = [DatabaseFilter]

    def databases(self) -> list[str]:
        """The databases that have this table."""
        return sharding.shards()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows of the chosen database."""
        return self.rows_on(self.alias_of(request)).order_by(*self.get_ordering(request))

    def alias_of(self, request: HttpRequest) -> str:
        """The database that was chosen; the first until one is."""
        chosen = request.GET.get(DatabaseFilter.parameter_name)
        return chosen if chosen in self.databases() else self.databases()[0]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A number is looked for on the shard that it names, whichever is chosen."""
        if number := as_id(search_term):
            queryset = queryset.using(sharding.shard_of_id(number))
        return super().get_search_results(request, queryset, search_term)

    def rows_on(self, alias: str) -> QuerySet[Any]:
        """All rows of one database."""
        rows: QuerySet[Any] = self.model._default_manager.get_queryset().using(alias)
        return rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model | None:
        """The row, looked for on every database: an id stands on one of them only."""
        for alias in self.databases():
            try:
                found: Model | None = self.rows_on(alias).filter(pk=object_id).first()
            except (ValueError, TypeError, ValidationError):
                # No number of this table at all.
                return None
            if found is not None:
                return found
        return None


@admin.register(Breaker)
class BreakerAdmin(ReadOnlyAdmin):
    """Outside services and whether they are called, with buttons to forbid it and to allow it again."""

    list_display = ("name", "state", "failures", "seconds", "held_open")
    actions = ("open_circuit", "close_circuit")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Breaker]:
        """A row for each service that this process knows."""
        rows = Breaker.objects.using(sharding.DEFAULT)
        missing = breakers.keys() - set(rows.values_list("name", flat=True))
        rows.bulk_create([Breaker(name=name) for name in sorted(missing)], ignore_conflicts=True)
        return rows.filter(name__in=breakers).order_by("name")

    @admin.display(description=_("状态"))
    def state(self, row: Breaker) -> StrOrPromise:
        """In words."""
        names = {State.CLOSED: _("接通"), State.PROBING: _("等待试探"), State.OPEN: _("断开")}
        return names[breakers[row.name].look().state]

    @admin.display(description=_("连续失败"))
    def failures(self, row: Breaker) -> int:
        """So far, while it is closed."""
        return breakers[row.name].look().failures

    @admin.display(description=_("几秒后试探"))
    def seconds(self, row: Breaker) -> int | None:
        """Until somebody may try."""
        return round(breakers[row.name].look().seconds) or None

    @admin.action(description=_("断开（停止调用）"), permissions=["operate"])
    def open_circuit(self, request: HttpRequest, queryset: QuerySet[Breaker]) -> None:
        """Nobody calls the service until the circuit is closed by hand."""
        press(request, queryset, _("断开（停止调用）"), lambda row: breakers[row.name].hold_open())

    @admin.action(description=_("接通（恢复调用）"), permissions=["operate"])
    def close_circuit(self, request: HttpRequest, queryset: QuerySet[Breaker]) -> None:
        """Everybody may call again, whatever was before."""
        press(request, queryset, _("接通（恢复调用）"), lambda row: breakers[row.name].close())


@admin.register(OutboxMessage)
class OutboxAdmin(ShardedAdmin):
    """Messages and why they were parked, with a button to run them again."""

    list_display = ("id", "topic", "key", "state", "attempts", "next_at", "error")
    list_filter: ClassVar[Any] = [DatabaseFilter, "state", TopicFilter]
    # Numbers rise with time, and no index orders the creation.
    ordering = ("-id",)
    actions = ("run_again",)

    def databases(self) -> list[str]:
        """The outbox stands everywhere."""
        return sharding.databases()

    @admin.action(description=_("重新执行"), permissions=["operate"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        """Give parked messages another round of tries."""
        using = queryset.db
        count = press(request, queryset, _("重新执行"), lambda row: outbox.revive([row.id], using=using) == 1)
        messages.info(request, ngettext("%d 条消息将重新执行", "%d 条消息将重新执行", count) % count)
