"""Groups and permissions as boxes to tick. Django's pickers of two lists shut out who can't see or use a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet
from django.forms.models import ModelChoiceIterator
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from waimai.infra.admin import ReadOnlyAdmin
from waimai.infra.admin_base import UserChangeForm
from waimai.infra.admin_site import LAST

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

ACTIONS = {"view": _("可查看"), "add": _("可新增"), "change": _("可修改"), "delete": _("可删除")}
NEVER_ASKED_FOR = Q(codename__startswith="add_") | Q(codename__startswith="delete_")


class Boxes(forms.CheckboxSelectMultiple):
    """Boxes in a group of that name, under headings where the choices have any."""

    # What says the group's name and its faults is the group's own.
    option_inherits_attrs = False

    def __init__(self, label: StrOrPromise) -> None:
        super().__init__({"aria-label": label})

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        """By a template of the project: widgets' own come from installed apps only."""
        return render_to_string("admin/boxes.html", self.get_context(name, value, attrs))


def offered() -> QuerySet[Permission]:
    """What the admin asks for, ever: the permissions of its pages and of the rows that stand on them."""
    editable, shown = set[type[Model]](), set[type[Model]]()
    for model, page in admin.site._registry.items():
        (shown if isinstance(page, ReadOnlyAdmin) else editable).add(model)
        editable.update(inline.model for inline in page.inlines)
    types = {model: kind.pk for model, kind in ContentType.objects.get_for_models(*editable, *shown).items()}
    looked_at = Q(content_type__in=[types[model] for model in shown]) & ~NEVER_ASKED_FOR
    return Permission.objects.filter(Q(content_type__in=[types[model] for model in editable]) | looked_at)


def _place(permission: Permission) -> tuple[int, str, str]:
    """Where it stands: by app, as on the front page, and by what it is about."""
    kind = permission.content_type
    config = apps.app_configs.get(kind.app_label)
    return getattr(config, "admin_order", LAST), kind.app_label, kind.model


def _heading(permission: Permission) -> str:
    kind = permission.content_type
    config, model = apps.app_configs.get(kind.app_label), kind.model_class()
    name = model._meta.verbose_name if model else kind.model
    return f"{config.verbose_name if config else kind.app_label} · {capfirst(name)}"


def _as(column: Any) -> dict[str, Any]:
    """What a form's field is told of a column, beside its rows."""
    label = column.verbose_name
    return {"label": label, "help_text": column.help_text, "required": False, "widget": Boxes(label)}


class ByModel(ModelChoiceIterator[Permission]):
    """Permissions under the names of what they are about."""

    def __iter__(self) -> Iterator[Any]:
        """Each name with its permissions."""
        rows = self.queryset.select_related("content_type").order_by("pk")
        for _key, group in groupby(sorted(rows, key=_place), _place):
            members = list(group)
            yield _heading(members[0]), [self.choice(row) for row in members]


class PermissionsField(forms.ModelMultipleChoiceField[Permission]):
    """Some of the permissions that are offered."""

    iterator = ByModel

    def __init__(self, column: Any) -> None:
        super().__init__(Permission.objects.none(), **_as(column))

    def offer(self, held: QuerySet[Permission]) -> None:
        """What the admin asks for, and what somebody holds already: that isn't taken away for being unusual."""
        self.queryset = Permission.objects.filter(Q(pk__in=offered().values("pk")) | Q(pk__in=held.values("pk")))

    def label_from_instance(self, obj: Permission) -> str:
        """What it allows, in the reader's language; the stored name where it is none of ours."""
        action, _joint, model = obj.codename.partition("_")
        kind = obj.content_type.model_class()
        if model == obj.content_type.model and action in ACTIONS:
            return str(ACTIONS[action])
        return str(dict(kind._meta.permissions if kind else ()).get(obj.codename, obj.name))


class GroupForm(forms.ModelForm[Group]):
    """A role, and what it may do."""

    permissions = PermissionsField(Group._meta.get_field("permissions"))

    class Meta:
        model = Group
        fields = ("name", "permissions")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["permissions"]
        field.offer(self.instance.permissions.all() if self.instance.pk else Permission.objects.none())


class UserForm(UserChangeForm[User]):
    """A person's rights; the password has a page of its own."""

    groups = forms.ModelMultipleChoiceField(Group.objects.order_by("name"), **_as(User._meta.get_field("groups")))
    user_permissions = PermissionsField(User._meta.get_field("user_permissions"))

    class Meta:
        model = User
        fields = "__all__"
        field_classes: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["user_permissions"]
        field.offer(self.instance.user_permissions.all())
