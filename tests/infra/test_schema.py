from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

pytestmark = [pytest.mark.data, pytest.mark.once]
# `api-v1.md`, as far as it is built: method, path.
CALLS = """
post auth/sms/
post auth/login/
post auth/refresh/
post auth/logout/
post auth/staff/login/
get me/
patch me/
get addresses/
post addresses/
get addresses/{}/
patch addresses/{}/
delete addresses/{}/
get shops/
get shops/{}/
get shops/{}/menu/
get shops/{}/cart/
delete shops/{}/cart/
post shops/{}/cart/lines/
patch shops/{}/cart/lines/{}/
delete shops/{}/cart/lines/{}/
get orders/
post orders/
get orders/{}/
post orders/{}/pay/
post orders/{}/cancel/
post orders/{}/remind/
post orders/{}/reorder/
post orders/{}/amendments/{}/
post payments/sandbox/{}/
post payments/webhooks/{}/
get staff/orders/
post staff/orders/{}/accept/
post staff/orders/{}/reject/
post staff/orders/{}/deliver/
post staff/orders/{}/complete/
post staff/orders/{}/cancel/
post staff/orders/{}/amendments/
"""
WANTED = [tuple(line.split()) for line in CALLS.strip().splitlines()]


@pytest.fixture(scope="module")
def document() -> Any:
    answer = Client().get("/api/v1/schema/")
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def operations(document: Any) -> dict[tuple[str, str], Any]:
    """Operations by method and path, without the names of what varies."""
    found = {}
    for path, methods in document["paths"].items():
        short = re.sub(r"{\w+}", "{}", path.removeprefix("/api/v1/"))
        found.update({(method, short): operation for method, operation in methods.items()})
    return found


def test_the_document_is_valid_and_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))


@pytest.mark.parametrize(("method", "path"), WANTED, ids=[" ".join(call) for call in WANTED])
def test_every_call_is_in_it(document: Any, method: str, path: str) -> None:
    assert (method, path) in operations(document)


def test_every_operation_has_a_name_of_its_own(document: Any) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))


def test_every_operation_may_answer_with_a_problem(document: Any) -> None:
    for call, operation in operations(document).items():
        assert "application/problem+json" in operation["responses"]["default"]["content"], call


@pytest.mark.parametrize("path", ["orders/", "orders/{}/pay/"])
def test_a_key_is_required_where_money_is_spent(document: Any, path: str) -> None:
    (key,) = [x for x in operations(document)["post", path]["parameters"] if x["name"] == "Idempotency-Key"]
    assert key["required"] is True


def test_a_key_may_be_sent_where_something_is_created(document: Any) -> None:
    (key,) = [x for x in operations(document)["post", "addresses/"]["parameters"] if x["name"] == "Idempotency-Key"]
    assert not key.get("required")


@pytest.mark.parametrize(("method", "path"), [("get", "shops/"), ("get", "shops/{}/menu/"), ("post", "auth/login/")])
def test_what_is_open_to_everyone_says_so(document: Any, method: str, path: str) -> None:
    assert operations(document)[method, path].get("security", []) in ([], [{}])


def test_the_rest_asks_for_a_token(document: Any) -> None:
    assert operations(document)["post", "orders/"]["security"] == [{"jwtAuth": []}]


@pytest.mark.parametrize("code", ["sold_out", "shop_closed", "total_changed", "out_of_delivery_area", "rate_limited"])
def test_stable_codes_are_listed(document: Any, code: str) -> None:
    assert f"`{code}` (" in document["components"]["schemas"]["Problem"]["properties"]["code"]["description"]


def test_an_order_is_described(document: Any) -> None:
    order = document["components"]["schemas"]["OrderOutput"]
    assert {"id", "status", "total", "lines", "expires_at", "allowed_actions", "timeline"} <= set(order["properties"])


@pytest.mark.parametrize(("path", "page"), [("orders/", "OrderPageOutput"), ("staff/orders/", "StaffOrderPageOutput")])
def test_lists_are_described_as_pages(document: Any, path: str, page: str) -> None:
    answer = operations(document)["get", path]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": f"#/components/schemas/{page}"}
    assert set(document["components"]["schemas"][page]["properties"]) == {"next", "previous", "results"}


def test_the_browsable_document_asks_nobody_outside() -> None:
    page = Client().get("/api/v1/docs/")
    assert page.status_code == 200
    addresses = re.findall(r"""(?:src|href|url)\s*[=:(]\s*["']([^"']+)""", page.content.decode())
    assert addresses
    assert [one for one in addresses if not one.startswith(("/", "data:"))] == []


def test_what_the_browsable_document_needs_is_served_here() -> None:
    page = Client().get("/api/v1/docs/").content.decode()
    for address in re.findall(r"""(?:src|href)=["'](/[^"']+)""", page):
        answer = Client().get(address)
        assert answer.status_code == 200, address
        answer.close()
