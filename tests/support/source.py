"""The product's own source as syntax trees, for the tests that read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("waimai", "accounts", "menu", "payments", "orders")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported module or name, written in full (`menu.services.quote`), and where."""

    name: str
    line: int


@dataclass(frozen=True)
class Module:
    """One file of the product."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        """The dotted name."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts).removesuffix(".__init__")

    def at(self, node: ast.AST | int) -> str:
        """`file:line`, as editors understand it."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 0)
        return f"{self.path.relative_to(ROOT)}:{line}"

    def calls(self) -> Iterator[ast.Call]:
        """Every call."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands, except those for the type checker alone."""
        unseen = {id(child) for node in ast.walk(self.tree) if _is_for_types(node) for child in ast.walk(node)}
        for node in ast.walk(self.tree):
            if id(node) in unseen:
                continue
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@cache
def product() -> tuple[Module, ...]:
    """Every module of the product but the migrations."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return tuple(Module(file) for file in files if "migrations" not in file.parts)


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a name or an attribute of one; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def length(function: Function) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING")
