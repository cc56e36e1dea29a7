"""What the code asks to have translated, and what a catalogue answers; read without gettext's programs."""

from __future__ import annotations

import ast
import gettext
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

from tests.support.source import ROOT, product

FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
# What `templatize` makes of the tags of a template.
ASKED = re.compile(r"""\b(?:gettext|ngettext|_)\(\s*(?:u|r)?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
LINE = re.compile(r'^(?:(msgid_plural|msgid|msgstr(?:\[\d\])?) )?(".*")$')
Catalogue = dict[str, tuple[str, ...]]


def asked_for() -> dict[str, str]:
    """Every text that code or templates ask for, and where one of them stands."""
    found = dict(_in_templates())
    for module in product():
        for call in module.calls():
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            first = call.args[0] if call.args else None
            if name in FUNCTIONS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.setdefault(first.value, module.at(call))
    return found


def _in_templates() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "templates").rglob("*.html")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = templatize(path.read_text(), origin=str(path))
        for literal in ASKED.findall(code):
            yield ast.literal_eval(literal).replace("%%", "%"), str(path.relative_to(ROOT))


def written(language: str) -> Catalogue:
    """The catalogue as its `.po` has it: a translation per plural form; fuzzy ones don't count."""
    found: Catalogue = {}
    for block in _path(language, "po").read_text().split("\n\n"):
        parts: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if match := LINE.match(line):
                key = match[1] or key
                parts[key] = parts.get(key, "") + ast.literal_eval(match[2])
        if parts.get("msgid") and not re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE):
            found[parts["msgid"]] = tuple(text for name, text in sorted(parts.items()) if name.startswith("msgstr"))
    return found


def compiled(language: str) -> Catalogue:
    """The catalogue as its `.mo` has it."""
    with _path(language, "mo").open("rb") as file:
        entries = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    found: dict[str, dict[int, str]] = {}
    for key, text in entries.items():
        name, form = key if isinstance(key, tuple) else (key, 0)
        if name:
            found.setdefault(name, {})[form] = text
    return {name: tuple(forms[form] for form in sorted(forms)) for name, forms in found.items()}


def _path(language: str, kind: str) -> Path:
    return ROOT / "locale" / language / "LC_MESSAGES" / f"django.{kind}"
