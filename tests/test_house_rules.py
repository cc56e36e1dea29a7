"""The rules of the house that no linter knows. Each failure lists its offenders as `file:line`."""

from __future__ import annotations

import ast
import re
import statistics

import pytest
from django.apps import apps
from django.db import models

from tests.support.source import ROOT, Module, dotted, length, product

pytestmark = pytest.mark.once

APPS = ("accounts", "menu", "payments", "orders")
LONGEST_FILE_LINES = 300
LONGEST_FUNCTION_LINES = 60
NINE_OF_TEN_FUNCTIONS_LINES = 30
# What other apps may import of an app; `urls` is mounted, and demo, audit and roles are commanded, by `waimai` alone.
FRONT_DOORS = {"services", "events", "errors"}
COMPOSITION = "waimai"
# Rooms that read a request or a task and call a service. They never import each other.
DOORS = {"views", "api", "admin", "tasks", "sky"}
ABOUT_DOORS = DOORS | {
    "urls",
    "forms",
    "serializers",
    "schema",
    "throttles",
    "http",
    "middleware",
    "backends",
    "templatetags",
    "simulator",
}
OUTSIDE_WORLD = (
    "rest_framework",
    "celery",
    "django.http",
    "django.shortcuts",
    "requests",
    "httpx",
    "urllib.request",
    "urllib3",
)


def offenders(*found: str) -> str:
    """The failure text."""
    return "\n" + "\n".join(found)


def test_transactions_name_their_database() -> None:
    found = [
        module.at(node)
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and dotted(node) in {"transaction.atomic", "transaction.on_commit"}
        if not _is_called_with(module, node, "using")
    ]
    assert not found, offenders(*found)


def test_transaction_functions_are_not_imported_bare() -> None:
    banned = {"django.db.transaction.atomic", "django.db.transaction.on_commit"}
    found = [module.at(used.line) for module in product() for used in module.imports() if used.name in banned]
    assert not found, offenders(*found)


def test_nobody_listens_to_signals() -> None:
    pattern = re.compile(r"django\.dispatch|django\.(\w+\.)*signals")
    found = [module.at(used.line) for module in product() for used in module.imports() if pattern.match(used.name)]
    assert not found, offenders(*found)


def test_saves_say_which_fields() -> None:
    found = [
        module.at(call)
        for module in product()
        if not _room(module) & {"admin", "forms", "serializers"}
        for call in module.calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"save", "asave"} and not call.args
        if not {keyword.arg for keyword in call.keywords} & {"update_fields", "force_insert", None}
    ]
    assert not found, offenders(*found)


def test_amounts_of_money_are_never_changed() -> None:
    # The ledger's own managers refuse; this is about the rows that it is compared with, and about ways round them.
    changes = {"update", "aupdate", "bulk_update", "update_or_create", "save"}
    found = [
        module.at(call)
        for module in product()
        if _package(module) == "payments"
        for call in module.calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in changes and _names(call, "amount")
    ]
    assert not found, offenders(*found)


def test_nothing_goes_round_the_ledgers_manager() -> None:
    by_hand = re.compile(
        r"(UPDATE|DELETE FROM|REPLACE INTO)\s+\W?payments_(ledgerentry|payment|refund)\b", re.IGNORECASE
    )
    found = [
        module.at(node)
        for module in product()
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"_base_manager", "_raw_delete"} and not _moves(module))
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and by_hand.search(node.value))
    ]
    assert not found, offenders(*found)


def test_no_time_is_naive() -> None:
    naive = {"datetime.now", "datetime.datetime.now"}
    always = {"datetime.utcnow", "datetime.datetime.utcnow", "date.today", "datetime.date.today", "datetime.today"}
    found = [
        module.at(call)
        for module in product()
        for call in module.calls()
        if dotted(call.func) in always or (dotted(call.func) in naive and not call.args and not call.keywords)
    ]
    assert not found, offenders(*found)


def test_other_apps_come_in_by_the_front_door() -> None:
    found = [
        f"{module.at(used.line)} imports {used.name}"
        for module in product()
        for used in module.imports()
        if (app := used.name.split(".")[0]) in APPS and app != _package(module) and _package(module) != COMPOSITION
        if used.name.split(".")[1:2] and used.name.split(".")[1] not in FRONT_DOORS
    ]
    assert not found, offenders(*found)


def test_the_machinery_knows_no_app() -> None:
    found = [
        f"{module.at(used.line)} imports {used.name}"
        for module in product()
        if module.name.startswith("waimai.infra")
        for used in module.imports()
        if used.name.split(".")[0] in APPS
    ]
    assert not found, offenders(*found)


def test_only_the_composition_imports_the_desk() -> None:
    found = [
        f"{module.at(used.line)} imports {used.name}"
        for module in product()
        if not module.name.startswith(("orders.desk", "waimai."))
        for used in module.imports()
        if used.name.startswith("orders.desk")
    ]
    assert not found, offenders(*found)


def test_doors_do_not_import_each_other() -> None:
    found = [
        f"{module.at(used.line)} imports {used.name}"
        for module in product()
        if (own := _door(module.name))
        for used in module.imports()
        if used.name.split(".")[0] in APPS and (_door(used.name) or own) != own
    ]
    assert not found, offenders(*found)


def test_only_doors_know_the_outside_world() -> None:
    found = [
        f"{module.at(used.line)} imports {used.name}"
        for module in product()
        if _package(module) in APPS and not _is_about_a_door(module) and "providers" not in module.path.parts
        for used in module.imports()
        if any(f"{used.name}.".startswith(f"{world}.") for world in OUTSIDE_WORLD)
    ]
    assert not found, offenders(*found)


def test_files_are_short() -> None:
    found = [f"{m.at(1)} has {lines} lines" for m in product() if (lines := m.text.count("\n")) > LONGEST_FILE_LINES]
    assert not found, offenders(*found)


def test_no_function_is_long() -> None:
    found = [
        f"{module.at(function)} {function.name} has {length(function)} lines"
        for module in product()
        for function in module.functions()
        if length(function) > LONGEST_FUNCTION_LINES
    ]
    assert not found, offenders(*found)


def test_nine_functions_of_ten_are_short() -> None:
    lengths = [length(function) for module in product() for function in module.functions()]
    assert statistics.quantiles(lengths, n=10)[8] <= NINE_OF_TEN_FUNCTIONS_LINES


def test_sharded_tables_have_no_foreign_keys() -> None:
    found = [
        f"{model._meta.label}.{field.name}"
        for model in _sharded_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey | models.ManyToManyField)
    ]
    assert not found, offenders(*found)


def test_sharded_tables_count_nothing_up_by_themselves() -> None:
    found = [m._meta.label for m in _sharded_models() if isinstance(m._meta.pk, models.AutoField | models.BigAutoField)]
    assert not found, offenders(*found)


def test_pages_ask_nothing_of_other_hosts() -> None:
    outside = re.compile(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//|@import|url\(["']?(?:https?:)?//""")
    files = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "static").rglob("*.css")]
    found = [str(file.relative_to(ROOT)) for file in files if outside.search(file.read_text())]
    assert not found, offenders(*found)


def _sharded_models() -> list[type[models.Model]]:
    return [model for label in ("orders", "payments") for model in apps.get_app_config(label).get_models()]


def _package(module: Module) -> str:
    return module.name.split(".")[0]


def _room(module: Module) -> set[str]:
    """The parts of a module's name, `cart_views` counting as `views`."""
    parts = module.name.split(".")[1:]
    return {*parts, *(part.rsplit("_", 1)[-1] for part in parts)}


def _door(name: str) -> str:
    """Which kind of door a dotted name leads to, if any."""
    for part in name.split(".")[1:3]:
        if (kind := part.rsplit("_", 1)[-1]) in DOORS:
            return kind
    return ""


def _is_about_a_door(module: Module) -> bool:
    return bool(_room(module) & ABOUT_DOORS)


def _names(call: ast.Call, column: str) -> bool:
    """Whether a call names a column, as a keyword or in a list of fields."""
    texts = {node.value for node in ast.walk(call) if isinstance(node, ast.Constant)}
    return column in texts or any(keyword.arg == column for keyword in call.keywords)


def _moves(module: Module) -> bool:
    """Whether it moves whole rows from one database to another."""
    return module.name == "waimai.infra.resharding"


def _is_called_with(module: Module, function: ast.Attribute, keyword: str) -> bool:
    return any(call.func is function and keyword in {k.arg for k in call.keywords} for call in module.calls())
