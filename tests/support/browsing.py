"""A browser without JavaScript: it opens pages, fills in the forms that stand there, presses buttons, follows links."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.test import Client

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
UNSENT = {"submit", "button", "reset", "image", "file"}


@dataclass
class Form:
    """A form as it stands on the page, with what it would send."""

    action: str
    method: str
    values: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[dict[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """One answer: its status, its text as a reader sees it, its forms and its links."""

    def __init__(self, response: Any, path: str) -> None:
        super().__init__()
        self.response, self.path = response, path
        self.status = int(response.status_code)
        self.html = response.content.decode()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.words: list[str] = []
        self.lang = ""
        self._open: list[tuple[str, dict[str, str]]] = []
        self._select: tuple[str, list[tuple[str, bool]]] | None = None
        self.feed(self.html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append((tag, values))
        if tag == "html":
            self.lang = values.get("lang", "")
        elif tag == "form":
            self.forms.append(Form(urljoin(self.path, values.get("action", "")), values.get("method", "get").lower()))
        elif self.forms:
            self._control(tag, values)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "select" and self._select:
            name, options = self._select
            chosen = [value for value, selected in options if selected] or [options[0][0]]
            self.forms[-1].values.setdefault(name, []).extend(chosen)
            self.forms[-1].choices.setdefault(name, []).extend(value for value, _ in options)
            self._select = None

    def handle_data(self, data: str) -> None:
        inside = {tag for tag, _values in self._open}
        unseen = any("hidden" in values for _tag, values in self._open)
        if not unseen and not inside & {"script", "style", "title", "header"}:
            self.words.append(data)
        for tag, values in reversed(self._open):
            if tag == "a" and data.strip():
                self.links.setdefault(data.strip(), values.get("href", ""))
            if tag == "button" and data.strip() and self.forms:
                self.forms[-1].buttons[-1].setdefault("text", data.strip())

    def form(self, action: str) -> Form:
        """The only form whose address ends like this."""
        found = [form for form in self.forms if form.action.partition("?")[0].endswith(action)]
        assert len(found) == 1, (action, [form.action for form in self.forms])
        return found[0]

    def has_form(self, action: str) -> bool:
        return any(form.action.partition("?")[0].endswith(action) for form in self.forms)

    def _control(self, tag: str, values: dict[str, str]) -> None:
        if tag == "input":
            self._input(values)
        elif tag == "button":
            self.forms[-1].buttons.append(values)
        elif tag == "textarea":
            self.forms[-1].values[values["name"]] = [""]
        elif tag == "select":
            self._select = (values["name"], [])
        elif tag == "option" and self._select:
            self._select[1].append((values["value"], "selected" in values))

    def _input(self, values: dict[str, str]) -> None:
        kind, name = values.get("type", "text"), values.get("name")
        if not name or kind in UNSENT:
            return
        form = self.forms[-1]
        if kind in ("radio", "checkbox"):
            form.choices.setdefault(name, []).append(values.get("value", "on"))
            if "checked" not in values:
                return
        form.values.setdefault(name, []).append(values.get("value", ""))


class Browser:
    """Somebody's browser; `csrf` tokens are checked, as in life."""

    def __init__(self, user: Any = None, *, language: str = "zh-CN,zh;q=0.9") -> None:
        self.client = Client(enforce_csrf_checks=True, headers={"Accept-Language": language})
        if user is not None:
            self.client.force_login(user)

    def log_in(self, user: Any) -> None:
        """Log in; as in life, the session goes on under a new key."""
        self.client.force_login(user)

    def open(self, path: str) -> Page:
        """Open a page, following redirects."""
        return self._page(self.client.get(path, follow=True), path)

    def submit(self, page: Page, action: str, changes: dict[str, Any] | None = None, *, htmx: bool = False) -> Page:
        """Send the form with this address as it stands, but for the changes; follow to the next page."""
        form = page.form(action)
        data = form.values | {k: v if isinstance(v, list) else [str(v)] for k, v in (changes or {}).items()}
        headers = {"HX-Request": "true"} if htmx else {}
        return self._page(self.client.post(form.action, data, follow=True, headers=headers), form.action)

    def follow(self, page: Page, text: str) -> Page:
        """Click the link that says this."""
        return self.open(urljoin(page.path, page.links[text]))

    @staticmethod
    def _page(response: Any, path: str) -> Page:
        last = response.redirect_chain[-1][0] if getattr(response, "redirect_chain", None) else path
        parts = urlsplit(urljoin(path, last))
        return Page(response, f"{parts.path}?{parts.query}" if parts.query else parts.path)
