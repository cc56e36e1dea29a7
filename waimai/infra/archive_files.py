"""The files of an archived month: for each table one of gzipped JSON lines, and a manifest that is written last.

A line is one row, an object of column names and values as the database holds them: times in UTC, money as strings. The
checksum (SHA-256) is that of the lines, so that it can be compared with a table as well as with a file.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

FORMAT = 1
MANIFEST = "manifest.json"
Row = Sequence[Any]


class Damaged(Exception):
    """A file of an archive is missing, cut short or not what was written."""


@dataclass(frozen=True)
class TableFile:
    """What the manifest says of one table: its columns, how many rows there are, and the checksum of their lines."""

    table: str
    columns: tuple[str, ...]
    rows: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.table}.jsonl.gz"


@dataclass(frozen=True)
class Manifest:
    """What an archived month of a shard consists of. `schema` names the last migration of each app."""

    shard: str
    month: str
    made_at: str
    schema: dict[str, str]
    tables: tuple[TableFile, ...]

    def save(self, folder: Path) -> None:
        """Write it; from now on the month counts as archived."""
        text = json.dumps({"format": FORMAT} | asdict(self), indent=1, ensure_ascii=False)
        _write_durably(folder / MANIFEST, text.encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it. Raises Damaged when it is missing or isn't one of ours."""
        try:
            found = json.loads((folder / MANIFEST).read_text())
            if found.pop("format") != FORMAT:
                raise Damaged(f"{folder / MANIFEST}: of another version of the program")
            tables = tuple(TableFile(**each | {"columns": tuple(each["columns"])}) for each in found.pop("tables"))
            return cls(**found, tables=tables)
        except OSError as error:
            raise Damaged(f"{folder / MANIFEST}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"{folder / MANIFEST}: is no manifest ({error})") from None


def line_of(columns: Sequence[str], row: Row) -> bytes:
    """A row as it stands in a file."""
    values = dict(zip(columns, row, strict=True))
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_plain).encode() + b"\n"


def describe(table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> TableFile:
    """What the manifest would say of these rows."""
    return _drain(table, columns, (line_of(columns, row) for batch in batches for row in batch))


def write(folder: Path, table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> TableFile:
    """Write the rows of a table; when this returns they are on the disk."""
    path = folder / f"{table}.jsonl.gz"
    part = path.with_suffix(".part")
    with part.open("wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:

            def lines() -> Iterator[bytes]:
                for batch in batches:
                    for row in batch:
                        packed.write(line := line_of(columns, row))
                        yield line

            found = _drain(table, columns, lines())
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(path)
    sync_folder(folder)
    return found


def read(folder: Path, file: TableFile) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises Damaged when it can't be read."""
    return (json.loads(line) for line in _lines(folder / file.name))


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file back, to the last line. Raises Damaged, naming the file."""
    for expected in manifest.tables:
        path = folder / expected.name
        found = _drain(expected.table, expected.columns, _lines(path))
        if found != expected:
            raise Damaged(
                f"{path}: {found.rows} rows of checksum {found.sha256[:12]}…, "
                f"the manifest says {expected.rows} of {expected.sha256[:12]}…"
            )


def make_folder(folder: Path, *, inside: Path) -> None:
    """Make a folder below `inside`, so that it is there after a loss of power too."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder not in {inside, folder.parent}:
        folder = folder.parent
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _drain(table: str, columns: Sequence[str], lines: Iterable[bytes]) -> TableFile:
    digest, count = hashlib.sha256(), 0
    for line in lines:
        digest.update(line)
        count += 1
    return TableFile(table, tuple(columns), count, digest.hexdigest())


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"{path}: {error}") from None


def _write_durably(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as raw:
        raw.write(content)
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(path)
    sync_folder(path.parent)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{value!r}: a kind of value that an archive can't hold")
