"""Forms of the admin in a real browser: filled in as people type, refused for one wrong value, mended and saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import reverse

from tests.support.chromium import look_over

# What a form holds, but for what no browser is given back.
HELD = """form => Object.fromEntries([...form.elements]
  .filter(it => it.name && !it.name.includes("__prefix__") && !["hidden", "password", "file"].includes(it.type))
  .map(it => [it.name + (it.type === "checkbox" ? it.value : ""), it.type === "checkbox" ? it.checked : it.value]))"""
KIND = "it => it.dataset['ajax-Url'] ? 'search' : it.type"
SAVED = "li > div.bg-green-100"


@dataclass(frozen=True)
class Form:
    """One form: what is typed into it by the fields' names, what is wrong at first, and what is stored in the end.

    Without a `row` it makes one, which is the newest with the first thing that is stored.
    """

    model: type[Model]
    typed: dict[str, Any]
    # A field, a value for it, and what stands beside it then.
    wrong: tuple[str, str, str]
    stored: dict[str, Any]
    row: Model | None = None
    # What has to be typed again, as no browser is given it back.
    again: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model._meta.label} {'change' if self.row else 'add'}"

    @property
    def path(self) -> str:
        """Where it is."""
        page = f"admin:{self.model._meta.app_label}_{self.model._meta.model_name}"
        return reverse(f"{page}_change", args=[self.row.pk]) if self.row else reverse(f"{page}_add")

    def found(self) -> list[dict[str, Any]]:
        """What is stored now."""
        first = dict([next(iter(self.stored.items()))])
        rows = self.model._default_manager
        made = self.row or rows.filter(**first).latest("pk")
        return list(rows.filter(pk=made.pk).values(*self.stored))

    def fill_in(self, page: Any, url: str, *, look: bool) -> None:
        """All of it: opened, filled in, refused for what is wrong with nothing lost, mended and saved."""
        page.goto(urljoin(url, self.path), wait_until="domcontentloaded")
        form, (name, value, words) = page.locator(f"#{self.model._meta.model_name}_form"), self.wrong
        for each, typed in (self.typed | {name: value}).items():
            type_in(page, form, each, typed)
        before = form.evaluate(HELD)
        with page.expect_navigation(wait_until="domcontentloaded"):
            self._send(page)
        faults = form.locator(".errors")
        assert faults.count() == 1, faults.all_inner_texts()
        assert faults.locator(f'[name="{name}"]').count() == 1, faults.inner_text()
        assert words in faults.inner_text()
        assert form.evaluate(HELD) == before
        if look:
            # Without their font, icons are long words.
            page.wait_for_load_state()
            page.evaluate("document.fonts.ready")
            look_over(page)
        for each in (name, *self.again):
            type_in(page, form, each, self.typed[each])
        with page.expect_navigation(wait_until="commit"):
            self._send(page)
        # The list below the message isn't waited for: that takes long, and others look at lists.
        page.locator(f"{SAVED}, .errornote").first.wait_for()
        assert page.locator(SAVED).count() == 1, page.locator(".errors").all_inner_texts()

    @staticmethod
    def _send(page: Any) -> None:
        page.locator("[name=_save]").click(no_wait_after=True)


def type_in(page: Any, form: Any, name: str, value: Any) -> None:
    """Give one field a value; a row that isn't there yet is added."""
    box = form.locator(f'[name="{name}"]')
    if not box.count():
        form.locator(f"#{name.partition('-')[0]}-group .add-row").click()
    match box.first.evaluate(KIND):
        case "search":
            choose(page, box, value)
        case "select-one":
            box.select_option(label=value)
        case "checkbox" if isinstance(value, bool):
            box.set_checked(value)
        case "checkbox":
            tick(form, value)
        case "file":
            box.set_input_files(value)
        case _:
            box.fill(value)


def tick(form: Any, wanted: dict[str, str]) -> None:
    """Tick one box in each of these groups of boxes."""
    for heading, label in wanted.items():
        form.get_by_role("group", name=heading, exact=True).get_by_label(label, exact=True).check()


def choose(page: Any, box: Any, value: str) -> None:
    """Search for a row and take the first that is found; nothing stays nothing."""
    if not value:
        return
    box.locator("xpath=following-sibling::span").locator(".select2-selection").click()
    search = page.locator(".select2-search__field")
    assert search.get_attribute("aria-label"), "a search for nobody knows what"
    search.fill(value)
    page.locator(".select2-results__option--highlighted", has_text=value).click()


def covered(forms: Iterable[Form]) -> set[str]:
    """Every form of these, and every table in them that is filled in."""
    tables = {
        f"{form.model._meta.label} {name.partition('-')[0]}" for form in forms for name in form.typed if "-" in name
    }
    return {str(form) for form in forms} | tables


def editable(user: Any) -> set[str]:
    """Every form of the admin that this person may send, and every table in one that he or she may fill in."""
    request = RequestFactory().get("/admin/")
    request.user = user
    return {name for model, page in admin.site._registry.items() for name in _sendable(model, page, request)}


def _sendable(model: type[Model], page: Any, request: HttpRequest) -> Iterator[str]:
    label = model._meta.label
    may = {"add": page.has_add_permission(request), "change": page.has_change_permission(request)}
    yield from (f"{label} {name}" for name, allowed in may.items() if allowed)
    if any(may.values()):
        for inline in page.get_inline_instances(request):
            if inline.has_add_permission(request, None):
                yield f"{label} {inline.get_formset(request).get_default_prefix()}"
