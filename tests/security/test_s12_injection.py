"""What people write is text: to the database, to a browser, to a spreadsheet, to a header and to the log."""

from __future__ import annotations

import csv
import io

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import User
from orders.desk.models import DeskOrder
from tests import factories
from tests.factories import Person, Stall, paid, settle
from tests.fixtures import lan, mei, stall
from tests.support.browsing import Browser
from waimai.infra.exports import cell, csv_response

__all__ = ["lan", "mei", "stall"]
pytestmark = pytest.mark.data
SQL = ["'", "1 OR 1=1", "1); DROP TABLE orders_order;--", "%", "_", "\\", "\x00", "1e9", "-1", "9" * 40, "😀", "id__gt"]
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
RAW = ("<script>alert(1)", "<img src=x")


def test_s12_no_parameter_of_the_api_reaches_the_database_as_anything_but_a_value(mei: Person, lan: Person) -> None:
    calls = [
        (mei, "orders/", ("status", "cursor", "page_size", "ordering")),
        (mei, "addresses/", ("cursor", "page_size")),
        (mei, "shops/", ("cursor", "page_size")),
        (lan, "staff/orders/", ("status", "shop", "cursor", "ordering")),
    ]
    broken = {}
    for who, path, names in calls:
        for name in names:
            for text in SQL:
                status = who.api.client.get(f"/api/v1/{path}", {name: text}, headers=who.api.headers).status_code
                if status not in {200, 400, 404}:
                    broken[f"{path}?{name}={text!r}"] = status
    assert broken == {}


def test_s12_nor_does_one_of_the_admin(lan: Person) -> None:
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    broken = {}
    for model, page in admin.site._registry.items():
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for name in ("q", "o", "p", "database", "all", "id__exact", "status", *(page.search_fields or ())[:1]):
            for text in ("' OR 1=1", "\x00", "9" * 40):
                status = boss.get(url, {name: text}).status_code
                if status not in {200, 302, 400}:
                    broken[f"{url}?{name}={text!r}"] = status
    assert broken == {}


def test_s12_pages_take_odd_numbers(mei: Person) -> None:
    me = Browser(mei.user)
    for text in SQL:
        assert me.client.get("/orders/", {"before": text}).status_code in {200, 400}
        assert me.client.get("/orders/1/status/", {"seen": text, "paid": text}).status_code == 404


def test_s12_what_people_write_is_shown_as_text(mei: Person, lan: Person, stall: Stall) -> None:
    User.objects.filter(pk=mei.id).update(nickname=MARKUP[:32])
    order_id = paid(mei, stall, note=MARKUP)
    DeskOrder.objects.filter(order_id=order_id).update(contact_name=MARKUP)
    settle()
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    customer = Browser(mei.user).client
    shown = {
        "order": customer.get(f"/orders/{order_id}/"),
        "me": customer.get("/me/"),
        "desk": boss.get("/admin/desk/deskorder/"),
        "desk row": boss.get(f"/admin/desk/deskorder/{order_id}/change/"),
        "order row": boss.get(f"/admin/orders/order/{order_id}/change/"),
        "users": boss.get("/admin/accounts/user/"),
    }
    for name, answer in shown.items():
        page = answer.content.decode()
        assert not any(raw in page for raw in RAW), name
    assert "&lt;script&gt;" in shown["desk row"].content.decode()


@pytest.mark.once
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("不要香菜", "不要香菜"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
        (-5, "-5"),
    ],
)
def test_s12_no_cell_is_a_formula(value: object, written: str) -> None:
    assert cell(value) == written


@pytest.mark.once
def test_s12_a_cell_can_not_end_its_line_or_its_column() -> None:
    answer = csv_response("x", ["a", "b"], [['1,"2"\r\n3', "=1"]])
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[arg-type]
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ['1,"2"\r\n3', "'=1"]]


def test_s12_the_staffs_export_is_neutral_scoped_and_written_down(mei: Person, lan: Person, stall: Stall) -> None:
    mine = paid(mei, stall, note="=HYPERLINK(1)")
    other = paid(mei, factories.stall("隔壁"), key="other")
    settle()
    client = Client()
    client.force_login(lan.user)
    answer = client.post("/admin/desk/deskorder/", {"action": "export", "_selected_action": [mine, other]})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header[0] == "订单号"
    assert [(row[0], row[-1]) for row in rows] == [(str(mine), "'=HYPERLINK(1)")]
    (line,) = LogEntry.objects.filter(user=lan.user)
    assert (line.object_id, line.change_message) == (str(mine), "导出 CSV: 完成")


def test_s12_no_header_and_no_line_of_the_log_can_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    sent = "id\r\nSet-Cookie: a=b"
    answer = Client().get("/healthz", headers={"X-Request-ID": sent})
    assert len(answer["X-Request-ID"]) == 32
    assert "a" not in answer.cookies
    Client().post(
        "/api/v1/auth/login/", {"phone": "1\r\nFORGED LINE", "password": "x"}, content_type="application/json"
    )
    assert not any(line.startswith("FORGED") for line in caplog.text.splitlines())
