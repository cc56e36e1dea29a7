"""Months that nobody needs any more: out to files, and back.

Months leave oldest first, and so everything older than one id, the mark, is gone: the audit begins there and passes
over whatever belongs to an older order, wherever it lies. A month is written and read back on every shard; then the
mark moves; then its rows go. So at whatever point this is killed, what was thrown away is in the files, and running it
again goes on. While a month lies above the mark the database is the truth, below it the files are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from waimai.infra import archive_files, partitions, sharding
from waimai.infra.archive_files import Damaged, Manifest, TableFile
from waimai.infra.archive_rows import AT_ONCE, Slice, archived_models
from waimai.infra.clock import db_now
from waimai.infra.db import run_atomic
from waimai.infra.models import ArchiveMark
from waimai.infra.months import Month

MONTHS_KEPT = 3
_unfinished: list[Callable[[str, int], Iterator[str]]] = []
_restored: list[Callable[[], object]] = []


class Refused(Exception):
    """Archiving or restoring this now would do harm; the text says why, a line for each reason."""


def refuses(check: Callable[[str, int], Iterator[str]]) -> Callable[[str, int], Iterator[str]]:
    """Register `check(alias, below)`: one line for each thing with an id below `below` that is still going on."""
    _unfinished.append(check)
    return check


def when_restored(body: Callable[[], object]) -> None:
    """Have `body()` called when months have come back: what was since forgotten may have come with them."""
    _restored.append(body)


def oldest_living_id() -> int:
    """The mark: whatever belongs to an order with a lower id may be in the archive; 0 when nothing is."""
    return ArchiveMark.objects.values_list("below", flat=True).first() or 0


# --- out ---


def archive(before: Month, folder: Path) -> Iterator[str]:
    """Move every month before `before` from all shards into files below `folder`; yields what was done, by the line.

    Raises Refused when such a month is too young or something in it isn't finished, and Damaged when what was written
    doesn't read back. Harmless twice.
    """
    shards = partitioned_shards()
    if before > (oldest_kept := Month.of(db_now(sharding.DEFAULT)).plus(-MONTHS_KEPT)):
        raise Refused(f"the last {MONTHS_KEPT} whole months stay: archive before {oldest_kept} at most")
    with _alone(shards):
        if found := [
            f"{line} [{alias}]" for alias in shards for check in _unfinished for line in check(alias, before.lowest_id)
        ]:
            raise Refused("\n".join(found))
        folder.mkdir(parents=True, exist_ok=True)
        months = {alias: _months(alias) for alias in shards}
        for month in sorted({month for each in months.values() for month in each if month < before}):
            yield from _archive_month(month, [alias for alias in shards if month in months[alias]], folder)
        _move_mark(before.lowest_id)


def _archive_month(month: Month, shards: list[str], folder: Path) -> Iterator[str]:
    gone_before = month.below <= oldest_living_id()
    for alias in shards:
        there = folder / alias / str(month)
        if gone_before:
            _require_in_files(alias, month, there)
        else:
            yield _export(alias, month, there, inside=folder)
    _move_mark(month.below)
    for alias in shards:
        if _remove(alias, month, folder / alias / str(month)):
            yield f"{alias} {month}: removed"


def _export(alias: str, month: Month, folder: Path, *, inside: Path) -> str:
    """Write the rows of a month and read them back."""
    archive_files.make_folder(folder, inside=inside)
    slices = [Slice(model, alias, month) for model in archived_models()]
    files = []
    for part in slices:
        columns = part.columns()
        files.append(archive_files.write(folder, part.table, columns, part.batches(columns)))
    manifest = Manifest(alias, str(month), f"{db_now(alias):%FT%TZ}", _schema(alias), tuple(files))
    manifest.save(folder)
    archive_files.verify(folder, manifest)
    return f"{alias} {month}: {sum(file.rows for file in files)} rows written to {folder}"


def _require_in_files(alias: str, month: Month, folder: Path) -> None:
    """A month below the mark: what the database still has of it must be in the files, to the letter."""
    left = [part for part in _partitions(alias, month) if not part.is_empty()]
    if not left:
        return
    try:
        files = _files_of(folder, alias, month)
    except Damaged as error:
        raise Refused(f"{alias} {month} was archived before, and its files are not to be had: {error}") from None
    for part in left:
        _require_same(part, files[part.table])


def _require_same(part: Slice, file: TableFile) -> None:
    if part.describe(file.columns) != file:
        raise Refused(f"{part.using} {part.month}: {part.table} is not what was archived; restore that month first")


def _remove(alias: str, month: Month, folder: Path) -> bool:
    """Throw away what the files have; returns whether there was anything."""
    left = [part for part in _partitions(alias, month) if not part.is_empty()]
    if (folder / archive_files.MANIFEST).exists():
        files = _files_of(folder, alias, month)
        for part in _partitions(alias, month):
            if not part.is_empty():
                _require_same(part, files[part.table])
            partitions.empty(part.model, alias, month)
        for part in _companions(alias, month):
            for rows in _in_batches(archive_files.read(folder, files[part.table])):
                part.delete(rows)
    return bool(left)


# --- back ---


def restore(folder: Path, only: Month | None = None) -> Iterator[str]:
    """Put the months below `folder` (or one of them) back, newest first; yields what was done, by the line.

    Raises Damaged before anything is changed when a file isn't what was written, and Refused when the rows belong
    elsewhere by now. Rows that are there stay as they are, so that twice is harmless.
    """
    found = [(Manifest.load(path.parent), path.parent) for path in sorted(folder.glob(f"*/*/{archive_files.MANIFEST}"))]
    wanted = [(manifest, path) for manifest, path in found if only in {None, Month.parse(manifest.month)}]
    if not wanted:
        raise Refused(f"{folder} has no archive{f' of {only}' if only else ''}")
    shards = partitioned_shards()
    for manifest, path in wanted:
        _require_restorable(manifest, path, shards)
    with _alone(shards):
        for month in sorted({Month.parse(manifest.month) for manifest, _path in wanted}, reverse=True):
            for manifest, path in wanted:
                if manifest.month == str(month):
                    yield _restore_one(manifest, path, month)
            if oldest_living_id() == month.below:
                _move_mark(month.lowest_id, back=True)
    for body in _restored:
        body()


def _require_restorable(manifest: Manifest, folder: Path, shards: list[str]) -> None:
    archive_files.verify(folder, manifest)
    if manifest.shard not in shards:
        raise Refused(f"{folder}: there is no shard {manifest.shard} on MySQL here")
    buckets = {row["bucket"] for file in manifest.tables for row in archive_files.read(folder, file)}
    if buckets - sharding.buckets_of(manifest.shard):
        raise Refused(f"{folder}: users of these orders live on other shards by now")
    known = {model._meta.db_table: model for model in archived_models()}
    for file in manifest.tables:
        if file.table not in known:
            raise Refused(f"{folder}: there is no table {file.table} any more")
        there = Slice(known[file.table], manifest.shard, Month.parse(manifest.month)).columns()
        if missing := set(file.columns) - set(there):
            raise Refused(f"{folder}: {file.table} has no column {', '.join(sorted(missing))} any more")


def _restore_one(manifest: Manifest, folder: Path, month: Month) -> str:
    alias, kept = manifest.shard, []
    files = {file.table: file for file in manifest.tables}
    for part in [*_partitions(alias, month), *_companions(alias, month)]:
        file = files.get(part.table)
        if file is None:
            continue
        if part.model.partitioned_by:
            partitions.make_room(part.model, alias, month)
        for rows in _in_batches(archive_files.read(folder, file)):
            part.put_back(rows)
        if part.describe(file.columns) != file:
            kept.append(part.table)
    differing = f"; rows that differ were kept as they are in {', '.join(kept)}" if kept else ""
    return f"{alias} {month}: {sum(file.rows for file in manifest.tables)} rows are back{differing}"


# --- both ---


def partitioned_shards() -> list[str]:
    """The shards that have partitions."""
    return [alias for alias in sharding.shards() if partitions.applies_to(alias)]


def _move_mark(below: int, *, back: bool = False) -> None:
    def body() -> None:
        if back or below > oldest_living_id():
            ArchiveMark.objects.update_or_create(pk=1, defaults={"below": below})

    run_atomic(sharding.DEFAULT, body)


@contextmanager
def _alone(shards: list[str]) -> Iterator[None]:
    """Nobody else changes partitions while this lasts."""
    with ExitStack() as stack:
        for alias in shards:
            if not stack.enter_context(partitions.alone(alias, wait_seconds=partitions.OTHERS_END_WITHIN_SECONDS)):
                raise Refused(f"{alias}: somebody else is changing its partitions")
        yield


def _months(alias: str) -> set[Month]:
    """The months that have a partition of their own on a shard."""
    every = (partitions.of_table(model, alias) for model in partitions.partitioned_models())
    return {part.month for parts in every for part in parts if part.month}


def _partitions(alias: str, month: Month) -> list[Slice]:
    return [Slice(model, alias, month) for model in archived_models() if model.partitioned_by]


def _companions(alias: str, month: Month) -> list[Slice]:
    return [Slice(model, alias, month) for model in archived_models() if not model.partitioned_by]


def _files_of(folder: Path, alias: str, month: Month) -> dict[str, TableFile]:
    """The files of a month, read back. Raises Damaged."""
    manifest = Manifest.load(folder)
    if (manifest.shard, manifest.month) != (alias, str(month)):
        raise Damaged(f"{folder}: holds {manifest.shard} {manifest.month}")
    archive_files.verify(folder, manifest)
    return {file.table: file for file in manifest.tables}


def _in_batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, AT_ONCE)):
        yield batch


def _schema(alias: str) -> dict[str, str]:
    """The last migration of each app that has been run on a shard."""
    return dict(sorted(MigrationRecorder(connections[alias]).applied_migrations()))
