"""What the push service's answers become, over a real HTTP/2 connection; nothing hangs."""

import json
import logging
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from devices.apns import apple, console
from devices.apns.transport import Address, Credentials, transport
from devices.rules.secret import Secret
from devices.rules.waking import (
    Accepted,
    CertificateTrouble,
    Gone,
    OurFault,
    Outcome,
    Throttled,
    Unavailable,
    WrongToken,
)
from tests.pushing import push_certificates_folder, push_service, push_to
from tests.simulator.push_certificates import Pair
from tests.simulator.push_service import EVERY_TOKEN, Fault, PushService

__all__ = ["push_certificates_folder", "push_service"]

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def push(push_service: PushService) -> PushService:
    return push_service


def address(number: int) -> Address:
    return Address(number, number.to_bytes(32, "big"), f"magic-{number}")


def credentials(push: PushService, pair: Pair | None = None) -> Credentials:
    pair = pair or push.certificates.mdm
    key = Secret(pair.key_path.read_bytes())
    return Credentials(push.topic, pair.certificate_path.read_text(), key)


def send(push: PushService, *numbers: int, pair: Pair | None = None) -> dict[int, Outcome]:
    addresses = [address(number) for number in numbers]
    return dict(apple.Apple().send(addresses, credentials=credentials(push, pair)))


def test_a_push_is_what_apple_wants(push: PushService) -> None:
    before = time.time()
    assert send(push, 1) == {1: Accepted()}
    (received,) = push.received
    assert received.token == address(1).token.hex()
    assert json.loads(received.body) == {"mdm": "magic-1"}
    assert received.headers["apns-push-type"] == "mdm"
    assert received.headers["apns-topic"] == push.topic
    assert received.headers["apns-priority"] == "10"
    stored_until = int(received.headers["apns-expiration"])
    assert stored_until >= before + timedelta(days=1).total_seconds()  # a device may be off


def test_a_second_batch_takes_the_same_connection(push: PushService) -> None:
    send(push, 1, 2, 3)
    send(push, 4)
    assert push.connections_made == 1
    assert len(push.received) == 4


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (400, "BadDeviceToken", WrongToken("BadDeviceToken")),
        (400, "DeviceTokenNotForTopic", WrongToken("DeviceTokenNotForTopic")),
        (400, "BadTopic", OurFault("BadTopic")),
        (403, "BadCertificate", CertificateTrouble("BadCertificate")),
        (413, "PayloadTooLarge", OurFault("PayloadTooLarge")),
        (429, "TooManyRequests", Throttled("TooManyRequests")),
        (500, "InternalServerError", Unavailable("InternalServerError")),
        (503, "Shutdown", Unavailable("Shutdown")),
    ],
)
def test_an_answer_becomes_an_outcome(
    push: PushService, status: int, reason: str, outcome: Outcome
) -> None:
    push.answer(address(1).token.hex(), status, reason=reason)
    assert send(push, 1) == {1: outcome}


def test_410_says_since_when(push: PushService) -> None:
    push.answer(address(1).token.hex(), 410, timestamp=NOW.timestamp())
    assert send(push, 1) == {1: Gone(NOW)}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, OurFault("400")),
        (403, CertificateTrouble("403")),
        (429, Throttled("429")),
        (503, Unavailable("503")),
    ],
)
def test_an_error_without_a_body_is_an_answer_too(
    push: PushService, status: int, outcome: Outcome
) -> None:
    push.answer(address(1).token.hex(), status, body=b"")
    assert send(push, 1) == {1: outcome}


def test_410_without_a_body_means_that_the_token_is_gone_now(push: PushService) -> None:
    push.answer(address(1).token.hex(), 410, body=b"")
    before = timezone.now()
    (outcome,) = send(push, 1).values()
    assert isinstance(outcome, Gone)
    assert before <= outcome.since <= timezone.now()


def test_a_body_that_is_no_json_is_an_answer_too(push: PushService) -> None:
    push.answer(address(1).token.hex(), 503, body=b"<html>busy</html>")
    assert send(push, 1) == {1: Unavailable("503")}


def test_a_stream_that_is_reset_is_tried_later_and_holds_up_nobody(push: PushService) -> None:
    push.answer(address(1).token.hex(), Fault.RESET)
    outcomes = send(push, 1, 2)
    assert isinstance(outcomes[1], Unavailable)
    assert outcomes[2] == Accepted()


@pytest.mark.parametrize("fault", [Fault.GOAWAY, Fault.CUT])
def test_a_connection_that_ends_is_made_anew(push: PushService, fault: Fault) -> None:
    send(push, 1)
    push.answer(address(2).token.hex(), fault, times=1)
    assert send(push, 2) == {2: Accepted()}
    assert push.connections_made == 2


@pytest.mark.parametrize("fault", [Fault.GOAWAY, Fault.CUT])
def test_a_service_that_always_hangs_up_is_unavailable(push: PushService, fault: Fault) -> None:
    push.answer(EVERY_TOKEN, fault)
    outcomes = send(push, *range(20))
    assert len(outcomes) == 20
    assert {type(outcome) for outcome in outcomes.values()} == {Unavailable}


def test_silence_is_given_up_and_the_dead_connection_with_it(
    push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(push, 1)  # what belongs to a new connection has been said
    monkeypatch.setattr(apple, "PUSH_LASTS", 1.0)
    push.answer(address(1).token.hex(), Fault.SILENCE, times=1)
    assert send(push, 1) == {1: Unavailable("no answer", silent=True)}
    assert send(push, 1) == {1: Accepted()}
    assert push.connections_made == 2


def test_one_silent_token_does_not_cost_the_others_their_connection(
    push: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(push, 3)  # what belongs to a new connection has been said
    monkeypatch.setattr(apple, "PUSH_LASTS", 1.0)
    push.answer(address(1).token.hex(), Fault.SILENCE)
    push.answer(address(2).token.hex(), 200, delay=0.1)
    outcomes = send(push, 1, 2)
    assert outcomes[1] == Unavailable("no answer", silent=True)
    assert outcomes[2] == Accepted()
    assert push.connections_made == 1


def test_thousands_of_errors_on_one_connection_all_come(push: PushService) -> None:
    push.answer(EVERY_TOKEN, 410, timestamp=NOW.timestamp())
    outcomes = send(push, *range(3000))
    assert len(outcomes) == 3000
    assert set(outcomes.values()) == {Gone(NOW)}
    assert push.connections_made == 1


def test_never_more_than_a_hundred_are_in_flight(push: PushService) -> None:
    push.answer(EVERY_TOKEN, 200, delay=0.3)
    began = time.time()
    send(push, *range(250))
    firsts = [one for one in push.received if one.at < began + 0.3]
    assert 0 < len(firsts) <= apple.IN_FLIGHT


def test_certificate_trouble_ends_the_batch(push: PushService) -> None:
    push.answer(EVERY_TOKEN, 403)
    outcomes = send(push, *range(500))
    assert {type(outcome) for outcome in outcomes.values()} == {CertificateTrouble}
    assert len(outcomes) <= apple.IN_FLIGHT  # the rest was not pushed at all


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("fault", ["expired", "foreign"])
def test_a_certificate_that_tls_refuses_is_certificate_trouble(
    settings: Settings, push_certificates_folder: Path, newest: ssl.TLSVersion, fault: str
) -> None:
    with PushService(state=push_certificates_folder, newest_tls=newest) as push:
        push_to(push, settings)
        bad = push.certificates.make_client("bad", topic=push.topic, **{fault: True})
        (outcome,) = send(push, 1, 2, 3, pair=bad).values()
        assert isinstance(outcome, CertificateTrouble)
        assert push.received == []


def test_a_push_service_of_another_authority_gets_nothing(
    push: PushService, settings: Settings
) -> None:
    settings.APNS_CA = ""  # the system's authorities do not know it
    (outcome,) = send(push, 1).values()
    assert isinstance(outcome, CertificateTrouble)
    assert push.received == []


def test_a_key_that_is_not_the_certificates_is_certificate_trouble(push: PushService) -> None:
    other = push.certificates.make_client("other")
    (outcome,) = send(
        push, 1, pair=Pair(push.certificates.mdm.certificate_path, other.key_path)
    ).values()
    assert isinstance(outcome, CertificateTrouble)


def test_an_authority_that_cannot_be_read_is_certificate_trouble(
    push: PushService, settings: Settings, tmp_path: Path
) -> None:
    settings.APNS_CA = str(tmp_path / "absent.pem")
    (outcome,) = send(push, 1).values()
    assert outcome == CertificateTrouble("No such file or directory")


def test_nobody_there_is_unavailable(settings: Settings, push_certificates_folder: Path) -> None:
    with PushService(state=push_certificates_folder) as push:
        push_to(push, settings)
        opened = credentials(push)
    outcomes = apple.Apple().send([address(1), address(2)], credentials=opened)
    silent = Unavailable("the push service is not reached", silent=True)
    assert outcomes == {1: silent, 2: silent}


def test_no_log_line_shows_a_token_or_a_magic(
    push: PushService, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(apple, "PUSH_LASTS", 0.3)
    for number, fault in enumerate((200, 400, 410, 503, *Fault), start=1):
        push.answer(address(number).token.hex(), fault)
        send(push, number)
        assert address(number).token.hex() not in caplog.text
        assert f"magic-{number}" not in caplog.text
    assert "magic" not in repr(address(1))
    assert "\\x01" not in repr(address(1))


def test_the_console_says_whom_it_would_wake(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings.APNS_TRANSPORT = "devices.apns.console.Console"
    sender = transport()
    assert isinstance(sender, console.Console)
    unused = Credentials("topic", "", Secret(b""))
    assert sender.send([address(7)], credentials=unused) == {7: Accepted()}
    assert "Address(key=7)" in caplog.text
    assert "magic" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 200_000,
        b'{"timestamp": ' + b"9" * 5_000 + b"}",
        b'{"timestamp": 1000000000000000000000000000000, "reason": 1}',
        b'{"timestamp": -1, "reason": "Unregistered"}',
    ],
)
def test_an_answer_that_nobody_should_give_stops_no_push(body: bytes) -> None:
    words = apple._words(body)
    outcome = apple.read("410", words.get("reason", ""), words.get("timestamp"), now=NOW)
    assert outcome == Gone(NOW)
