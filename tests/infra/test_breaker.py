"""Circuit breakers: when they open, who may probe, and what closes them; in Redis and in a process alone."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from payments import providers
from payments.providers.guarded import Guarded
from tests.support.source import ROOT, product
from waimai.infra import breaker as machine
from waimai.infra import short_redis
from waimai.infra.breaker import Breaker, CircuitOpen, State, breakers
from waimai.infra.models import Breaker as BreakerRow
from waimai.infra.sharding import DEFAULT

pytestmark = pytest.mark.data


class Broken(Exception):
    """The service failed."""


class SaidNo(Exception):
    """The service answered, and refused."""


@pytest.fixture
def circuit() -> Iterator[Breaker]:
    made = Breaker("toy")
    yield made
    del breakers["toy"]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers where Redis should be."""
    monkeypatch.setattr(short_redis, "_asked_again_at", time.monotonic() + 3600)


def call(circuit: Breaker, error: type[Exception] | None = None) -> str:
    """How a call ends that would end so."""
    try:
        with circuit.guard(failures=(Broken,), answers=(SaidNo,)):
            if error is not None:
                raise error
    except CircuitOpen:
        return "refused"
    except (Broken, SaidNo, KeyError) as raised:
        return type(raised).__name__
    return "well"


def fail(circuit: Breaker, times: int) -> None:
    for _time in range(times):
        call(circuit, Broken)


def a_minute_passes(circuit: Breaker) -> None:
    """Everything that was to end has ended."""
    redis = short_redis.client()
    for name in ("until", "probe"):
        if redis.hexists(circuit._key, name):
            redis.hset(circuit._key, name, "1")
    own = circuit._own
    own.open_until, own.probe_until = min(own.open_until, 0.001), min(own.probe_until, 0.001)
    circuit._closed_to_us_until = 0.0


@pytest.fixture(params=["redis", "process"])
def either(request: pytest.FixtureRequest, circuit: Breaker) -> Breaker:
    """A circuit in Redis, and one in this process alone."""
    if request.param == "process":
        request.getfixturevalue("away")
    return circuit


def test_it_opens_at_five_failures_in_a_row(either: Breaker) -> None:
    fail(either, 4)
    assert (call(either), either.look().state) == ("well", State.CLOSED)
    fail(either, 4)
    assert either.look().failures == 4
    assert call(either, Broken) == "Broken"
    assert call(either) == "refused"
    look = either.look()
    assert (look.state, 55 < look.seconds <= 60) == (State.OPEN, True)


def test_a_no_is_an_answer_and_a_mistake_of_ours_is_no_word(either: Breaker) -> None:
    fail(either, 4)
    assert call(either, KeyError) == "KeyError"
    assert either.look().failures == 4
    assert call(either, SaidNo) == "SaidNo"
    assert either.look().failures == 0
    for _time in range(9):
        call(either, SaidNo)
    assert call(either) == "well"


def test_a_refusal_says_when_to_come_again(circuit: Breaker) -> None:
    fail(circuit, 5)
    with pytest.raises(CircuitOpen, match="toy is left alone for another 60 s") as refusal, circuit.guard(failures=()):
        pytest.fail("called")
    assert 55 < refusal.value.retry_after <= 60


def test_after_a_minute_one_may_probe_and_its_success_closes(either: Breaker) -> None:
    fail(either, 5)
    a_minute_passes(either)
    assert either.look().state is State.PROBING
    with either.guard(failures=(Broken,)):
        assert call(either) == "refused"
        either._closed_to_us_until = 0.0
        assert call(either) == "refused"
    either._closed_to_us_until = 0.0
    assert (call(either), either.look()) == ("well", machine.Look(State.CLOSED, 0, 0.0, held=False))


def test_a_probe_that_fails_opens_for_another_minute(either: Breaker) -> None:
    fail(either, 5)
    a_minute_passes(either)
    assert call(either, Broken) == "Broken"
    assert (call(either), either.look().state) == ("refused", State.OPEN)


def test_a_probe_that_died_makes_room_for_the_next(either: Breaker) -> None:
    fail(either, 5)
    a_minute_passes(either)
    either._ask()
    a_minute_passes(either)
    assert call(either) == "well"
    assert either.look().state is State.CLOSED


def test_a_late_success_closes_nothing(either: Breaker) -> None:
    early = either._ask()
    fail(either, 5)
    either._tell(early, well=True)
    assert (call(either), either.look().state) == ("refused", State.OPEN)
    a_minute_passes(either)
    either._tell(early, well=True)
    assert either.look().state is State.PROBING


def test_a_late_word_of_a_dead_probe_is_not_heard(either: Breaker) -> None:
    fail(either, 5)
    a_minute_passes(either)
    dead = either._ask()
    a_minute_passes(either)
    with either.guard(failures=(Broken,)):
        either._tell(dead, well=False)
        assert either.look().state is State.PROBING
    assert either.look().state is State.CLOSED


def test_redis_and_a_process_agree_whatever_happens(circuit: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    other, draw = Breaker("toy"), random.Random(11)
    steps = [draw.choice([None, Broken, Broken, Broken, SaidNo, "minute"]) for _step in range(300)]
    ends: list[list[str]] = []
    for each, offline in ((circuit, False), (other, True)):
        monkeypatch.setattr(short_redis, "_asked_again_at", time.monotonic() + 3600 if offline else 0.0)
        ends.append([])
        for step in steps:
            if step == "minute":
                a_minute_passes(each)
            else:
                ends[-1].append(call(each, step))  # type: ignore[arg-type]
    assert ends[0] == ends[1]
    assert set(ends[0]) == {"well", "Broken", "SaidNo", "refused"}


def test_of_eight_threads_one_probes(circuit: Breaker) -> None:
    fail(circuit, 5)
    a_minute_passes(circuit)
    entered, go = threading.Barrier(9), threading.Event()
    ends: list[str] = []

    def probe() -> None:
        entered.wait(10)
        try:
            with Breaker("toy").guard(failures=(Broken,)):
                go.wait(10)
                ends.append("probed")
        except CircuitOpen:
            ends.append("refused")

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    entered.wait(10)
    deadline = time.monotonic() + 10
    while len(ends) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(ends) == ["probed", *["refused"] * 7]


def test_calls_do_not_wait_for_each_other(circuit: Breaker) -> None:
    inside = threading.Barrier(10)

    def slow() -> None:
        with circuit.guard(failures=(Broken,)):
            inside.wait(10)

    threads = [threading.Thread(target=slow) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not inside.broken


OTHER_PROCESS = """
import django; django.setup()
from waimai.infra.breaker import Breaker, CircuitOpen
try:
    with Breaker("toy").guard(failures=()): print("called")
except CircuitOpen: print("refused")
"""


def test_another_process_knows_of_it(circuit: Breaker) -> None:
    fail(circuit, 5)
    environment = {"WAIMAI_DATA_DIR": str(django_settings.DATA_DIR), "DJANGO_SETTINGS_MODULE": "waimai.settings"}
    told = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["refused"]


def test_an_open_circuit_costs_no_call_of_redis(circuit: Breaker) -> None:
    fail(circuit, 5)
    call(circuit)
    before = commands_so_far()
    assert {call(circuit) for _time in range(50)} == {"refused"}
    # The question itself is one.
    assert commands_so_far() - before == 1


def commands_so_far() -> int:
    return int(short_redis.client().info("stats")["total_commands_processed"])


# --- by hand ---


def test_held_open_it_stays_open_until_it_is_closed(circuit: Breaker) -> None:
    circuit.hold_open()
    a_minute_passes(circuit)
    assert (call(circuit), circuit.look().held, circuit.look().state) == ("refused", True, State.OPEN)
    short_redis.client().flushall()
    circuit.forget()
    assert (call(circuit), circuit.look().held) == ("refused", True)
    circuit.close()
    assert (call(circuit), circuit.look().held) == ("well", False)


def test_closed_by_hand_it_begins_anew(circuit: Breaker) -> None:
    fail(circuit, 5)
    circuit.close()
    fail(circuit, 4)
    assert call(circuit) == "well"


def test_held_open_while_redis_is_away_it_is_open_here(circuit: Breaker, away: None) -> None:
    circuit.hold_open()
    assert call(circuit) == "refused"


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss", "x"))
    return client


def press(client: Client, action: str, name: str) -> None:
    page = reverse("admin:infra_breaker_changelist")
    answer = client.post(page, {"action": action, "_selected_action": [name]}, follow=True)
    assert answer.status_code == 200


def test_the_admin_shows_every_circuit_and_its_buttons_are_written_down(boss: Client) -> None:
    page = boss.get(reverse("admin:infra_breaker_changelist")).content.decode()
    assert all(name in page for name in ("provider:sandbox", "sms"))
    press(boss, "open_circuit", "sms")
    assert breakers["sms"].look().held
    assert BreakerRow.objects.using(DEFAULT).get(name="sms").held_open
    assert "断开" in boss.get(reverse("admin:infra_breaker_changelist")).content.decode()
    press(boss, "close_circuit", "sms")
    assert not breakers["sms"].look().held
    entries = LogEntry.objects.order_by("pk").values_list("object_repr", "change_message")
    assert list(entries) == [("sms", "断开（停止调用）: 完成"), ("sms", "接通（恢复调用）: 完成")]


def test_who_may_only_look_has_no_buttons() -> None:
    looker = User.objects.create_user("looker", "x", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_breaker"))
    client = Client()
    client.force_login(looker)
    page = reverse("admin:infra_breaker_changelist")
    assert "sms" in client.get(page).content.decode()
    client.post(page, {"action": "open_circuit", "_selected_action": ["sms"]})
    assert not breakers["sms"].look().held


# --- metrics ---


def test_metrics_tell_the_state_of_each_circuit(circuit: Breaker) -> None:
    fail(circuit, 5)
    text = Client().get("/metrics").content.decode()
    assert 'waimai_breaker_state{breaker="toy"} 2.0' in text
    assert 'waimai_breaker_state{breaker="sms"} 0.0' in text
    assert 'waimai_breaker_calls_total{breaker="toy",outcome="failed"}' in text


@pytest.mark.parametrize(
    ("connected", "forwarded", "status"),
    [
        ("127.0.0.1", "", 200),
        ("::1", "", 200),
        ("203.0.113.7", "", 404),
        ("203.0.113.7", "127.0.0.1", 404),
        ("10.0.0.1", "203.0.113.7", 404),
        ("10.0.0.1", "127.0.0.1", 200),
    ],
)
def test_metrics_are_for_our_own_networks(settings: Settings, connected: str, forwarded: str, status: int) -> None:
    settings.WAIMAI_TRUSTED_PROXIES = ["10.0.0.1"]
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert Client(REMOTE_ADDR=connected).get("/metrics", headers=headers).status_code == status


def test_every_module_that_calls_outside_goes_through_a_circuit() -> None:
    outside = ("requests", "urllib.request", "http.client", "boto3", "botocore", "storages", "httpx", "smtplib")
    found = {
        module.name
        for module in product()
        for used in module.imports()
        if any(f"{used.name}.".startswith(f"{name}.") for name in outside) and "waimai.infra.breaker" not in module.text
    }
    # The sandbox's own side of the wire: there it plays the bank that calls us.
    assert found == {"payments.providers.sandbox_delivery"}


def test_every_provider_is_behind_its_circuit() -> None:
    assert {type(provider) for provider in providers._KNOWN.values()} == {Guarded}
    assert all(f"provider:{name}" in breakers for name in providers._KNOWN)
