"""Login codes: sending, limits, spending."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from pytest_django import Settings

from accounts import services
from accounts.codes import spend_code
from accounts.errors import SmsNotSent, WrongCode
from accounts.models import SmsCode, User
from accounts.sms import ConsoleSender, MemorySender
from tests.accounts.factories import MEI, SERVER, TAO
from tests.accounts.threads import at_once
from waimai.infra.breaker import breakers
from waimai.infra.errors import RateLimited, ServiceUnavailable, ValidationFailed

pytestmark = pytest.mark.data
Phones = type[MemorySender]


def a_minute_passes(phone: str = MEI, minutes: float = 1) -> None:
    passed = timedelta(minutes=minutes)
    SmsCode.objects.filter(phone=phone).update(sent_at=F("sent_at") - passed, expires_at=F("expires_at") - passed)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def test_a_code_of_six_digits_goes_to_the_phone(phones: Phones) -> None:
    sent = services.send_code(phone=MEI, address=SERVER)
    assert [(message.phone, len(message.code), message.code.isdigit()) for message in phones.sent] == [(MEI, 6, True)]
    assert (sent.expires_in, sent.resend_after) == (300, 60)


def test_the_code_itself_is_not_stored(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    row = SmsCode.objects.get()
    assert phones.last_code(MEI) not in (row.code_hash, row.phone)
    assert len(row.code_hash) == 64


def test_asking_for_a_code_registers_nobody(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    assert User.objects.count() == 0


@pytest.mark.parametrize(
    "phone", ["", "1391111000", "139111100011", "23911110001", "1391111000a", "１３９１１１１０００１", f"{MEI}\n"]
)
def test_what_is_not_a_mobile_number_gets_no_code(phones: Phones, phone: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        services.send_code(phone=phone, address=SERVER)
    assert list(refusal.value.errors or {}) == ["phone"]
    assert phones.sent == []


def test_a_phone_gets_one_code_a_minute(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    with pytest.raises(RateLimited) as refusal:
        services.send_code(phone=MEI, address=SERVER)
    assert 55 <= (refusal.value.retry_after or 0) <= 60
    assert len(phones.sent) == 1


def test_another_phone_need_not_wait(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    services.send_code(phone=TAO, address=SERVER)
    assert [message.phone for message in phones.sent] == [MEI, TAO]


def test_after_a_minute_a_new_code_replaces_the_old(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    old = phones.last_code(MEI)
    a_minute_passes()
    services.send_code(phone=MEI, address=SERVER)
    new = phones.last_code(MEI)
    if old != new:
        with pytest.raises(WrongCode):
            spend_code(phone=MEI, code=old)
    spend_code(phone=MEI, code=new)
    assert len(phones.sent) == 2


def test_a_phone_gets_ten_codes_a_day(phones: Phones) -> None:
    for number in range(10):
        services.send_code(phone=MEI, address=f"203.0.113.{number}")
        a_minute_passes()
    with pytest.raises(RateLimited) as refusal:
        services.send_code(phone=MEI, address="203.0.113.99")
    assert 0 < (refusal.value.retry_after or 0) <= 24 * 3600
    assert len(phones.sent) == 10


def test_an_address_gets_twenty_codes_an_hour(phones: Phones) -> None:
    for number in range(20):
        services.send_code(phone=f"139222200{number:02d}", address=SERVER)
    with pytest.raises(RateLimited) as refusal:
        services.send_code(phone=MEI, address=SERVER)
    assert 0 < (refusal.value.retry_after or 0) <= 3600
    services.send_code(phone=MEI, address="198.51.100.1")  # Next door still may.
    assert len(phones.sent) == 21


def test_limits_are_settings(phones: Phones, settings: Settings) -> None:
    settings.WAIMAI_SMS_PER_ADDRESS = "1/h"
    services.send_code(phone=MEI, address=SERVER)
    with pytest.raises(RateLimited):
        services.send_code(phone=TAO, address=SERVER)


def test_of_eight_askers_at_once_one_gets_a_code(phones: Phones) -> None:
    answers, refusals = at_once(8, lambda n: services.send_code(phone=MEI, address=f"203.0.113.{n}"))
    assert (len(answers), [type(error) for error in refusals]) == (1, [RateLimited] * 7)
    assert len(phones.sent) == 1
    spend_code(phone=MEI, code=phones.last_code(MEI))


def test_a_failing_carrier_is_told_and_costs_no_minute(phones: Phones) -> None:
    phones.failing = True
    with pytest.raises(SmsNotSent):
        services.send_code(phone=MEI, address=SERVER)
    phones.failing = False
    services.send_code(phone=MEI, address=SERVER)
    assert len(phones.sent) == 1


def test_a_carrier_that_keeps_failing_is_left_alone(phones: Phones) -> None:
    phones.failing = True
    for number in range(5):
        with pytest.raises(SmsNotSent):
            services.send_code(phone=f"1391111000{number}", address=SERVER)
    phones.failing = False
    with pytest.raises(SmsNotSent) as refusal:
        services.send_code(phone=MEI, address=SERVER)
    assert (phones.sent, 50 < (refusal.value.retry_after or 0) <= 60) == ([], True)
    breakers["sms"].close()
    services.send_code(phone=MEI, address=SERVER)
    assert len(phones.sent) == 1


def test_with_the_cache_down_no_code_is_sent(phones: Phones, no_cache: None) -> None:
    with pytest.raises(ServiceUnavailable):
        services.send_code(phone=MEI, address=SERVER)
    assert (phones.sent, SmsCode.objects.count()) == ([], 0)


def test_a_code_is_used_once(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    spend_code(phone=MEI, code=phones.last_code(MEI))
    with pytest.raises(WrongCode):
        spend_code(phone=MEI, code=phones.last_code(MEI))


def test_of_eight_spenders_at_once_one_wins(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    SmsCode.objects.update(attempts_left=8)
    code = phones.last_code(MEI)
    answers, refusals = at_once(8, lambda _n: spend_code(phone=MEI, code=code))
    assert (len(answers), [type(error) for error in refusals]) == (1, [WrongCode] * 7)


def test_a_code_of_another_phone_is_worth_nothing(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    services.send_code(phone=TAO, address=SERVER)
    SmsCode.objects.filter(phone=TAO).update(code_hash=SmsCode.objects.get(phone=MEI).code_hash)
    with pytest.raises(WrongCode):
        spend_code(phone=TAO, code=phones.last_code(MEI))


def test_a_phone_without_a_code_has_none() -> None:
    with pytest.raises(WrongCode):
        spend_code(phone=MEI, code="000000")


def test_a_spent_code_is_not_matched_by_nothing(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    spend_code(phone=MEI, code=phones.last_code(MEI))
    with pytest.raises(WrongCode):
        spend_code(phone=MEI, code="")


def test_a_code_lives_five_minutes(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    services.send_code(phone=TAO, address=SERVER)
    a_minute_passes(MEI, minutes=4.9)
    a_minute_passes(TAO, minutes=5)
    spend_code(phone=MEI, code=phones.last_code(MEI))
    with pytest.raises(WrongCode):
        spend_code(phone=TAO, code=phones.last_code(TAO))


def test_the_fifth_try_may_be_right(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    code = phones.last_code(MEI)
    for _ in range(4):
        with pytest.raises(WrongCode):
            spend_code(phone=MEI, code=wrong(code))
    spend_code(phone=MEI, code=code)


def test_after_five_wrong_tries_the_right_code_is_worth_nothing(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    code = phones.last_code(MEI)
    for _ in range(5):
        with pytest.raises(WrongCode):
            spend_code(phone=MEI, code=wrong(code))
    with pytest.raises(WrongCode):
        spend_code(phone=MEI, code=code)


def test_sixteen_guessers_at_once_have_five_tries_together(phones: Phones) -> None:
    services.send_code(phone=MEI, address=SERVER)
    code = phones.last_code(MEI)
    _answers, refusals = at_once(16, lambda _n: spend_code(phone=MEI, code=wrong(code)))
    assert len(refusals) == 16
    assert SmsCode.objects.get().attempts_left == 0


def test_the_console_sender_prints_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleSender().send(phone=MEI, code="123456")
    assert capsys.readouterr().out == f"SMS to {MEI}: login code 123456\n"


def test_a_phone_that_got_nothing_has_no_last_code(phones: Any) -> None:
    with pytest.raises(LookupError):
        phones.last_code(MEI)
