"""What the documentation claims, compared with the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands

import waimai.asgi
import waimai.urls
from accounts.staff import ROLES
from orders.states import Status, moves
from tests.support.databases import Databases
from tests.support.server import Server
from tests.support.source import ROOT
from waimai.infra.api import CODES
from waimai.infra.errors import DomainError
from waimai.infra.loops import relay_rounds, run_for_ever, timer_rounds
from waimai.management.commands.audit import lasting_problems

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"WAIMAI_[A-Z_]+")


@cache
def text_of(page: Path) -> str:
    return page.read_text()


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above; `#` in code is no heading."""
    level = len(heading.split(" ")[0])
    lines: list[str] = []
    inside = code = False
    for line in text_of(page).splitlines():
        code ^= line.startswith("```")
        if not code and re.match(rf"#{{1,{level}}} ", line):
            inside = line == heading
        elif inside:
            lines.append(line)
    assert lines, f"{page.name} has no {heading!r}"
    return "\n".join(lines)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row in a text, headings and rules left out."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [cells for number, cells in enumerate(found) if not _is_heading(found, number)]


def _is_heading(found: list[list[str]], number: int) -> bool:
    here, after = found[number], found[number + 1 : number + 2]
    return any(set(cells[0]) == {"-"} for cells in (here, *after))


# --- pages ---


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(text_of(page)) if not _leads_somewhere(page, link)]
    assert broken == []


def _leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://")):
        return True
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.once
def test_every_page_is_linked() -> None:
    linked = {(page.parent / link.split("#")[0]).resolve() for page in PAGES for link in LINK.findall(text_of(page))}
    assert [page.name for page in PAGES[1:] if page not in linked] == []


@pytest.mark.once
def test_named_files_are_there() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`((?:[a-z.]+/)+[\w.]*)`", text_of(page))
        if not name.startswith(("var/", ".venv/", "orders/{"))
    }
    apps = {path.name for path in ROOT.iterdir()}
    files = sorted(name for name in named if name.split("/")[0] in apps)
    assert files, "the pattern finds nothing"
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.once
def test_commands_exist() -> None:
    shown = {words.split()[0] for words in re.findall(r"^\| `([^`]+)`", section(README, "## Commands"), re.MULTILINE)}
    shown |= {word for page in PAGES for word in re.findall(r"manage\.py (\w+)", text_of(page))}
    assert sorted(shown - set(get_commands())) == []


@pytest.mark.once
def test_own_commands_are_in_the_readme() -> None:
    own = {name for name, app in get_commands().items() if app == "waimai"}
    missing = sorted(name for name in own if f"`{name}" not in section(README, "## Commands"))
    assert missing == []


# --- settings ---


def settings_read() -> dict[str, str]:
    """Every variable that the product and its two commands read, with its default where that is a plain value."""
    found: dict[str, str] = {}
    for folder in ("waimai", "bin", "accounts", "menu", "payments", "orders"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                found |= _read_here(node)
    return found


def _read_here(node: ast.AST) -> dict[str, str]:
    """What a call such as `env.int("WAIMAI_X", default=1)` or `os.environ.get("WAIMAI_X", "1")` reads."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return {}
    owner = ast.unparse(node.func.value)
    name = node.args[0]
    if owner not in {"env", "os.environ"} or not isinstance(name, ast.Constant):
        return {}
    if not SETTING.fullmatch(str(name.value)):
        return {}
    defaults = [keyword.value for keyword in node.keywords if keyword.arg == "default"] or node.args[1:2]
    plain = defaults[0].value if defaults and isinstance(defaults[0], ast.Constant) else None
    return {str(name.value): "" if plain is None else str(int(plain) if plain is True else plain)}


@pytest.mark.once
def test_the_readme_has_every_setting_and_no_other() -> None:
    shown = [cells[0].strip("`") for cells in rows(section(README, "## Settings"))]
    assert sorted(shown) == sorted(settings_read())


@pytest.mark.once
def test_the_readme_has_the_right_defaults() -> None:
    shown = {cells[0].strip("`"): cells[1] for cells in rows(section(README, "## Settings"))}
    wrong = {name: plain for name, plain in settings_read().items() if plain and f"`{plain}`" not in shown[name]}
    assert wrong == {}


@pytest.mark.once
def test_settings_named_elsewhere_exist() -> None:
    named = {name for page in PAGES for name in SETTING.findall(text_of(page))}
    assert sorted(named - set(settings_read())) == []


@pytest.mark.once
def test_the_driver_is_the_pinned_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {pin for page in PAGES for pin in re.findall(r"mysqlclient==[\d.]+", text_of(page))}
    assert named == set(extras["mysql"])


# --- states ---


@pytest.mark.once
def test_the_arrows_are_the_transitions() -> None:
    drawn = re.findall(r"^ +(\S+) --> (\w+) : (\w+)$", text_of(ROOT / "docs" / "order-states.md"), re.MULTILINE)
    begin = [("[*]", str(target), "place") for target in (Status.PLACING, Status.PENDING_PAYMENT)]
    declared = [(source, move.target, move.name) for move in moves() for source in move.sources]
    assert sorted(drawn) == sorted(begin + declared)


@pytest.mark.once
def test_the_table_has_every_transition() -> None:
    table = rows(section(ROOT / "docs" / "order-states.md", "## Each arrow"))
    shown = {
        (source.strip(" `–"), cells[3].strip("`"), cells[0].strip("`"))
        for cells in table
        for source in cells[2].split(",")
    }
    begin = {("", str(target), "place") for target in (Status.PLACING, Status.PENDING_PAYMENT)}
    assert shown == begin | {(source, move.target, move.name) for move in moves() for source in move.sources}


# --- the roles ---


@pytest.mark.once
def test_the_restaurants_table_says_what_each_role_may() -> None:
    page = ROOT / "docs" / "your-restaurant.md"
    heading, *_rest = re.findall(r"^\| may, in the own shop \| (.*) \|$", text_of(page), re.MULTILINE)
    roles = [name.replace(" ", "_") for name in heading.split(" | ")]
    shown = {role: set[str]() for role in roles}
    for cells in rows(section(page, "## 3. Your people")):
        for code in re.findall(r"`(\w+)`", cells[0]):
            for role, may in zip(roles, cells[1:], strict=True):
                shown[role] |= {code} if may == "yes" else set()
    assert shown == {role: set(codes) for role, codes in ROLES.items()}


# --- the API ---


def refusals() -> set[tuple[str, str]]:
    """The (code, status) of everything the API may refuse with."""
    for app in ("accounts", "menu", "payments", "orders"):
        import_module(f"{app}.errors")
    own = {(kind.code, str(kind.status)) for kind in _kinds_of(DomainError) if not kind.__module__.startswith("tests.")}
    of_drf = {(code, str(kind.status_code)) for kind, code in CODES.items()}
    return (own | of_drf) - {(DomainError.code, str(DomainError.status))}


def _kinds_of(base: type[DomainError]) -> Iterator[type[DomainError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds_of(kind)


@pytest.mark.once
def test_every_error_code_is_in_the_table() -> None:
    shown = [(cells[0].strip("`"), cells[1]) for cells in rows(section(ROOT / "docs" / "api.md", "### Error codes"))]
    assert sorted(shown) == sorted(refusals())


@pytest.mark.once
def test_every_call_is_in_the_table() -> None:
    table = section(ROOT / "docs" / "api.md", "## Calls")
    shown = {path for cells in rows(table) for path in re.findall(r"`[A-Z]+ (\S+)`", cells[0])}
    assert shown == set(_calls())


def _calls() -> Iterator[str]:
    """The path of every call, as `orders/{order_id}/`."""
    for app in waimai.urls.APPS:
        yield from (re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern)) for pattern in app.api_patterns)
    for route, _handler in waimai.asgi.LIVE_ROUTES:
        if not route.pattern.startswith("/api/"):
            continue  # A page's own.
        yield re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route.pattern).removeprefix("/api/v1/")


# --- the audit ---


@pytest.mark.once
def test_every_invariant_that_the_audit_names_is_explained() -> None:
    audits = [*ROOT.glob("*/audit.py"), *ROOT.glob("*/*/audit.py"), ROOT / "waimai" / "management/commands/audit.py"]
    named = {number for file in audits for number in re.findall(r'f"(I\d+) ', file.read_text())}
    table = section(ROOT / "docs" / "architecture.md", "## What the audit checks")
    explained = {cells[0].strip("*") for cells in rows(table)}
    assert named <= explained
    assert explained == {f"I{number}" for number in range(1, 11)}


# --- the first order ---


@contextmanager
def clock_and_news() -> Iterator[None]:
    """What `manage.py events` does, in threads of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=run_for_ever, args=([*timer_rounds(), *relay_rounds()], stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.data
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_order_by_curl_works_as_printed(db_all: Databases, server: Server) -> None:
    call_command("seed_demo", verbosity=0)
    printed = re.findall(r"```sh\n(.*?)```", section(README, "## A first order by curl"), re.DOTALL)
    assert len(printed) == 1
    script = printed[0].replace("http://127.0.0.1:8000", server.url)
    assert server.url in script
    with clock_and_news():
        ended = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-4:] == ["paid", "accepted", "delivering", "completed"]
    assert lasting_problems() == []
