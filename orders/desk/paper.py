"""What stands on a ticket, line by line, and the same as bytes for a thermal printer.

The bytes are ESC/POS (Epson's command set, which nearly every ticket printer speaks) with text in GB18030: `ESC @`
resets, `FS &` turns on Chinese, `GS ! n` sets the size (0x11 twice as wide and high), `ESC E n` bold, `ESC a n` aligns,
`GS V 66 n` feeds and cuts. 32 half-width characters fit on 58 mm of paper, 48 on 80 mm.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from orders.desk.models import Ticket
from orders.desk.tickets import PrintedTicket
from orders.services import Document

WIDTHS = {58: 32, 80: 48}
RESET, CHINESE, CUT = b"\x1b@", b"\x1c&", b"\x1dVB\x60"
LARGE, NORMAL = b"\x1d!\x11", b"\x1d!\x00"
BOLD, PLAIN = b"\x1bE\x01", b"\x1bE\x00"
CENTRE, LEFT = b"\x1ba\x01", b"\x1ba\x00"


@dataclass(frozen=True)
class Row:
    """One line: text on the left and (perhaps) on the right; a `rule` is a line across."""

    left: str
    right: str = ""
    large: bool = False
    centred: bool = False
    rule: bool = False


RULE = Row("", rule=True)


def rows_of(ticket: PrintedTicket, *, zone: str) -> list[Row]:
    """What stands on it, in the reader's language and the shop's time zone."""
    order = ticket.order
    rows = [Row(order.call_number, large=True, centred=True), Row(order.shop_name, centred=True)]
    if ticket.kind == Ticket.Kind.CORRECTION:
        rows.append(Row(_("更正单，请以此为准"), large=True, centred=True))
    if ticket.reprint:
        rows.append(Row(_("补打 第 %d 次") % ticket.reprint, centred=True))
    rows += [RULE, *(row for line in order.lines for row in _line(line)), RULE]
    if order.note:
        rows.append(Row(_("备注：%s") % order.note, large=True))
    wanted = order.deliver_at or order.promised_at
    if wanted:
        rows.append(Row(_("送达时间"), _clock(wanted, zone)))
    rows += [
        Row(_("餐具份数"), str(order.tableware)),
        Row(_("合计"), f"￥{order.net}"),
        RULE,
        Row(f"{order.contact_name} {order.phone}", large=True),
        Row(order.address_text),
        RULE,
        Row(_("下单时间"), _clock(order.placed_at, zone)),
        Row(_("订单号"), str(order.order_id)),
    ]
    return rows


def _line(line: Document) -> Iterator[Row]:
    yield Row(line["name"], f"× {line['quantity']}", large=True)
    if options := "、".join(option["name"] for option in line["options"]):
        yield Row(f"  {options}")
    for part in line["components"]:
        # Set meals multiplied out: the kitchen counts dishes.
        yield Row(f"  {part['name']}", f"× {part['quantity'] * line['quantity']}")


def _clock(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%m-%d %H:%M}"


def escpos(rows: list[Row], *, paper: int = 80) -> bytes:
    """The rows for a printer with paper of 58 or 80 mm; ends with a cut. Raises KeyError for any other paper."""
    width = WIDTHS[paper]
    return RESET + CHINESE + b"".join(_bytes(row, width) for row in rows) + CUT


def _bytes(row: Row, width: int) -> bytes:
    if row.rule:
        return b"-" * width + b"\n"
    text = _fitted(row.left, row.right, width // 2 if row.large else width)
    inner = text.encode("gb18030", errors="replace") + b"\n"
    if row.large:
        inner = LARGE + BOLD + inner + PLAIN + NORMAL
    return CENTRE + inner + LEFT if row.centred else inner


def _fitted(left: str, right: str, width: int) -> str:
    """Both on one line where they fit, with what lies between; else the right one on a line of its own."""
    # A note may hold anything: what isn't text would be taken for commands.
    left, right = _text_only(left), _text_only(right)
    if not right:
        return left
    gap = width - _columns(left) - _columns(right)
    return f"{left}{' ' * gap}{right}" if gap > 0 else f"{left}\n{' ' * (width - _columns(right))}{right}"


def _text_only(text: str) -> str:
    return "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)


def _columns(text: str) -> int:
    # What takes more than a byte is drawn as wide as a Chinese character.
    return sum(1 if letter.isascii() else 2 for letter in text)
