"""A disk of a test's own that can be full: a small file system in memory, mounted over a folder (by root only)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOMY_KILOBYTES = 512 * 1024


class Disk:
    """The file system under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Nothing more can be written."""
        self._resize(self._used_kilobytes())

    def make_room(self) -> None:
        """There is space again."""
        self._resize(ROOMY_KILOBYTES)

    def _used_kilobytes(self) -> int:
        usage = os.statvfs(self.folder)
        return (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024

    def _resize(self, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Put a folder and what is in it on a disk of its own. Nobody may use it when this begins and ends."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={ROOMY_KILOBYTES}k,mode=777"]
    subprocess.run(["mount", *options, "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        shutil.rmtree(aside)
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
