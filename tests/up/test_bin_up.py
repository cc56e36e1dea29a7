"""`bin/up` as a stranger meets it: what it says, and one order served. What it survives: `test_under_fire.py`."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from tests.support import shopper
from tests.support.source import ROOT
from tests.support.system import System, base_python

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that runs for all tests of this module that leave it running."""
    running = System(ROOT, tmp_path_factory.mktemp("up"))
    yield running
    running.kill()


def test_an_order_goes_from_the_menu_to_completed(system: System) -> None:
    mei, admin = shopper.customer(system.url), shopper.staff(system.url)
    order = shopper.place(mei)
    shopper.pay(mei, order["id"])
    shopper.serve(admin, order["id"])
    served = mei.get(f"orders/{order['id']}/")
    assert served["status"] == "completed"
    assert [entry["status"] for entry in served["timeline"]][-4:] == ["paid", "accepted", "delivering", "completed"]


def test_it_says_where_it_is_and_who_may_come_in(system: System) -> None:
    said = system.said()
    assert f"waimai is ready: {system.url}/" in said
    assert "13800000001 … 13800000005, password waimai-demo" in said
    assert f"{system.url}/admin/   admin, manager, frontdesk, kitchen, courier, password waimai-demo" in said


def test_s16_its_valkey_is_reached_by_its_owner_alone(system: System) -> None:
    socket = system.folder / "data" / "valkey.sock"
    mode = socket.stat().st_mode
    assert (stat.S_ISSOCK(mode), oct(stat.S_IMODE(mode))) == (True, "0o700")
    with redis.Redis(unix_socket_path=str(socket)) as client:
        assert client.config_get("port") == {"port": "0"} or client.config_get("port") == {b"port": b"0"}


def test_a_request_sent_while_the_web_child_is_down_is_answered(system: System) -> None:
    system.kill_child("web")
    assert requests.get(f"{system.url}/healthz", timeout=20).status_code == 200


def test_a_second_one_on_the_same_data_is_refused(system: System) -> None:
    command = [base_python(), str(ROOT / "bin" / "up"), "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "WAIMAI_DATA_DIR": str(system.folder / "data")}
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"another bin/up (process {system.process.pid}) already runs on the data folder" in second.stderr


@pytest.mark.timeout(300)
def test_a_fresh_clone_serves_an_order(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    running = System(clone, tmp_path / "up")
    try:
        mei, admin = shopper.customer(running.url), shopper.staff(running.url)
        order = shopper.place(mei)
        shopper.pay(mei, order["id"])
        shopper.serve(admin, order["id"])
        assert mei.get(f"orders/{order['id']}/")["status"] == "completed"
        assert running.stop() == 0
    finally:
        running.kill()
