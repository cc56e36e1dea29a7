"""What `bin/up` and `bin/test` share: the virtual environment, made and filled when something is missing.

Standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
INSTALLED = VENV / "waimai-installed.json"


class SetupError(Exception):
    """Something is missing that we can't make ourselves; the text says what."""


def up(arguments: Sequence[str]) -> int:
    """Set up, then become the supervisor."""
    try:
        ensure("embedded", *(["mysql"] if _speaks_mysql() else []))
    except SetupError as error:
        return _refuse(error)
    return _become([str(PYTHON), "-m", "waimai.supervisor", *arguments])


def _speaks_mysql() -> bool:
    """Whether the environment names a MySQL or MariaDB database."""
    named = (os.environ.get(name, "") for name in ("WAIMAI_DATABASE_URL", "WAIMAI_ORDER_SHARDS"))
    return any("mysql://" in urls for urls in named)


def test(arguments: Sequence[str]) -> int:
    """Set up, then run the tests on every kind of database at hand. Returns the worst exit status."""
    import _suites

    try:
        ensure("embedded", "dev")
    except SetupError as error:
        return _refuse(error)
    os.chdir(ROOT)
    return _suites.run(arguments)


def ensure(*extras: str) -> None:
    """Make `.venv/` if need be and install the requirements and these extras, if any of them changed.

    Raises SetupError when Python lacks the parts for it or pip fails.
    """
    wanted = {"requirements": _requirements(), **{extra: _extra(extra) for extra in extras}}
    if not _missing(wanted):
        return
    VENV.mkdir(exist_ok=True)
    with _only_one_at_a_time():
        _ensure_venv()
        if missing := _missing(wanted):
            _install(missing, {name: wanted[name] for name in missing})


def _become(command: list[str]) -> NoReturn:
    """Run `command` in this very process, so that signals meant for us reach it."""
    os.chdir(ROOT)
    os.execv(command[0], command)


def _refuse(error: SetupError) -> int:
    print(f"waimai can't start: {error}", file=sys.stderr)
    return 1


def _requirements() -> list[str]:
    return ["-r", str(ROOT / "requirements.txt")]


def _extra(name: str) -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["optional-dependencies"][name]
    return found


def _missing(wanted: dict[str, list[str]]) -> list[str]:
    """The sets that are not installed as they stand now."""
    try:
        installed = json.loads(INSTALLED.read_text()) if PYTHON.exists() else {}
    except (OSError, ValueError):
        installed = {}
    return [name for name, arguments in wanted.items() if installed.get(name) != _digest(arguments)]


def _digest(arguments: list[str]) -> str:
    text = (ROOT / "requirements.txt").read_text() if arguments == _requirements() else "\n".join(arguments)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    with (VENV / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure_venv() -> None:
    if PYTHON.exists() and _runs([str(PYTHON), "-m", "pip", "--version"]):
        return
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise SetupError(
            f"{sys.executable} can't make virtual environments (no venv or ensurepip). "
            "On Debian or Ubuntu: apt-get install python3-venv"
        )
    print("Making .venv/ …", flush=True)
    INSTALLED.unlink(missing_ok=True)
    for folder in ("bin", "lib", "include"):
        shutil.rmtree(VENV / folder, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
    if made.returncode:
        raise SetupError(f"{sys.executable} -m venv .venv failed")


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _install(names: list[str], sets: dict[str, list[str]]) -> None:
    print(f"Installing {', '.join(names)} (once) …", flush=True)
    started = time.monotonic()
    # The requirements go along each time, so that no extra moves what they pin.
    arguments = [*_requirements(), *(a for name, found in sets.items() if name != "requirements" for a in found)]
    pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    if subprocess.run([*pip, *arguments], check=False).returncode:
        hint = " (mysqlclient needs a compiler and, on Debian, default-libmysqlclient-dev pkg-config build-essential)"
        raise SetupError(
            f"pip could not install {', '.join(names)}{hint if 'mysql' in names else ''}; its reasons stand above"
        )
    _note(sets)
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def _note(sets: dict[str, list[str]]) -> None:
    try:
        installed = json.loads(INSTALLED.read_text())
    except (OSError, ValueError):
        installed = {}
    installed |= {name: _digest(arguments) for name, arguments in sets.items()}
    draft = INSTALLED.with_suffix(".draft")
    draft.write_text(json.dumps(installed, indent=1))
    draft.replace(INSTALLED)
