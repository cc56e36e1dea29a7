"""The environment that `bin/up` and `bin/test` make: once, again after a change, and never with an old Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import ROOT
from tests.support.system import base_python

pytestmark = [pytest.mark.once, pytest.mark.slow]

EXTRAS = "[project.optional-dependencies]\nembedded = []\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that needs nothing, so that no package is fetched; its environment is made."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "bin", root / "bin")
    (root / "requirements.txt").write_text("# nothing\n")
    (root / "pyproject.toml").write_text(EXTRAS)
    assert "Installing requirements, embedded (once)" in ensure(root)
    return root


def ensure(root: Path) -> str:
    """Set up what is missing; what was said."""
    ended = python("import _bootstrap; _bootstrap.ensure('embedded')", root)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def python(code: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code beside the scripts of `bin/`."""
    return subprocess.run([base_python(), "-c", code], cwd=root / "bin", capture_output=True, text=True, check=False)


def test_a_second_time_there_is_nothing_to_do(project: Path) -> None:
    assert ensure(project) == ""


def test_changed_requirements_alone_are_installed_again(project: Path) -> None:
    (project / "requirements.txt").write_text("# still nothing\n")
    assert "Installing requirements (once)" in ensure(project)


def test_an_environment_whose_python_is_gone_is_made_again(project: Path) -> None:
    (project / ".venv" / "bin" / "python").unlink()
    assert "Making .venv/" in ensure(project)
    assert (project / ".venv" / "bin" / "python").exists()


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    hide = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'ensurepip' else find(n)"
    )
    ended = python(f"{hide}; import _bootstrap; sys = __import__('sys'); sys.exit(_bootstrap.up([]))", tmp_path)
    assert ended.returncode == 1
    assert "apt-get install python3-venv" in ended.stderr


def test_a_python_that_is_too_old_says_so() -> None:
    ended = python("import _python; _python.OLDEST = (9, 9); _python.NEWER = (); _python.require('bin/up')")
    assert ended.returncode == 1
    said = f"waimai needs Python 3.11 or later; this is {sys.version_info[0]}.{sys.version_info[1]}"
    assert ended.stderr.startswith(said)


def test_a_newer_python_on_the_path_takes_over(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("print('taken over')")
    newer = Path(base_python())
    setup = f"_python.OLDEST = (9, 9); _python.NEWER = ({newer.name!r},); os.environ['PATH'] = {str(newer.parent)!r}"
    code = f"import os, _python; {setup}; _python.require({str(script)!r})"
    assert python(code).stdout == "taken over\n"
