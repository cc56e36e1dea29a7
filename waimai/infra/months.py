"""Calendar months (UTC) of ids: where one ends and the next begins."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple, Self

from waimai.infra import ids

WRITTEN = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class Month(NamedTuple):
    """One month, such as 2026-11."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The month of a moment, in UTC."""
        there = moment.astimezone(UTC)
        return cls(there.year, there.month)

    @classmethod
    def of_id(cls, any_id: int) -> Self:
        """The month in which an id was made."""
        return cls.of(ids.made_at(any_id))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The month written as `2026-11`. Raises ValueError."""
        if not (found := WRITTEN.fullmatch(text)):
            raise ValueError(f"{text!r} is not a month such as 2026-11")
        return cls(int(found[1]), int(found[2]))

    def plus(self, months: int) -> Month:
        """So many months later, or earlier when negative."""
        year, number = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, number + 1)

    def until(self, last: Month) -> list[Month]:
        """This month and those up to `last`, which is one of them; none when that is earlier."""
        count = (last.year - self.year) * 12 + last.number - self.number + 1
        return [self.plus(n) for n in range(count)]

    @property
    def lowest_id(self) -> int:
        """The smallest id that can have been made in it."""
        return ids.lowest_id(datetime(self.year, self.number, 1, tzinfo=UTC))

    @property
    def below(self) -> int:
        """The smallest id that is too late for it."""
        return self.plus(1).lowest_id

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"
