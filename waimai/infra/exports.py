"""Tables for spreadsheet programs, as CSV that none of them takes for a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

# What a program may run as a formula when a cell begins with it (OWASP, "CSV Injection").
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
BYTE_ORDER_MARK = "\ufeff"


class _Line:
    """A file that keeps nothing: what is written is what comes back."""

    def write(self, line: str) -> str:
        return line


def cell(value: object) -> str:
    """A value as text that is shown and never run: what begins like a formula gets an apostrophe before it.

    Numbers are left alone: a program may reckon with them, and they say nothing else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(DANGEROUS) else text


def csv_response(name: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A download called `name`.csv, one line at a time, in UTF-8 with a mark by which Excel knows it."""
    write = csv.writer(_Line()).writerow

    def lines() -> Iterator[str]:
        yield BYTE_ORDER_MARK + write([cell(each) for each in header])
        for row in rows:
            yield write([cell(each) for each in row])

    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "X-Content-Type-Options": "nosniff"}
    return StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8", headers=headers)
