"""The simulated push service over real HTTP/2: it takes what Apple takes, and fails as told."""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from tests.simulator.push_certificates import Certificates
from tests.simulator.push_client import Client, Said
from tests.simulator.push_service import EVERY_TOKEN, Fault, PushService

TOKEN, OTHER = "ab" * 32, "cd" * 32
BODY = b'{"mdm": "MAGIC"}'


def send(client: Client, token: str = TOKEN, seconds: float = 5, **keys: Any) -> Said:
    return client.send(token, BODY, seconds=seconds, **keys)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with PushService(state=tmp_path_factory.mktemp("push")) as push:
        yield push


@pytest.fixture
def push(service: PushService) -> PushService:
    for token in (TOKEN, OTHER, EVERY_TOKEN):
        service.accept(token)
    service.received.clear()
    return service


@pytest.fixture
def client(push: PushService) -> Iterator[Client]:
    client = Client(push)
    yield client
    client.close()


def test_a_push_is_accepted_and_recorded(push: PushService, client: Client) -> None:
    said = send(
        client, headers={"apns-push-type": "mdm", "apns-topic": push.topic, "apns-expiration": "1"}
    )
    assert (said.status, said.body, said.headers["apns-id"]) == (200, b"", "ID")
    (received,) = push.received
    assert (received.token, received.magic, received.body) == (TOKEN, "MAGIC", BODY)
    assert received.headers["apns-expiration"] == "1"


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ((TOKEN.upper(), BODY, {}), 400, "BadDeviceToken"),
        (("not-hex", BODY, {}), 400, "BadDeviceToken"),
        ((TOKEN, b"", {}), 400, "PayloadEmpty"),
        ((TOKEN, b'{"aps": {}, "mdm": "MAGIC"}', {}), 400, "NotAnMdmPayload"),
        ((TOKEN, b'{"mdm": 1}', {}), 400, "NotAnMdmPayload"),
        ((TOKEN, b'{"mdm": "' + b"x" * 5000 + b'"}', {}), 413, "PayloadTooLarge"),
        ((TOKEN, BODY, {"apns-topic": "com.example"}), 400, "BadTopic"),
        ((TOKEN, BODY, {"apns-push-type": "alert"}), 400, "InvalidPushType"),
        ((TOKEN, BODY, {"apns-expiration": "soon"}), 400, "BadExpirationDate"),
        ((TOKEN, BODY, {"method": "GET"}), 405, "MethodNotAllowed"),
    ],
)
def test_what_is_not_an_mdm_push_is_refused(
    push: PushService,
    client: Client,
    request_: tuple[str, bytes, Mapping[str, str]],
    status: int,
    reason: str,
) -> None:
    said = client.send(*request_)
    assert (said.status, said.reason) == (status, reason)
    assert push.received == []


def test_a_token_answers_as_it_was_told(push: PushService, client: Client) -> None:
    push.answer(TOKEN, 410, timestamp=1_700_000_000)
    said = send(client)
    assert said.status == 410
    assert json.loads(said.body) == {"reason": "Unregistered", "timestamp": 1_700_000_000_000}
    assert send(client, OTHER).status == 200
    push.accept(TOKEN)
    assert send(client).status == 200
    assert [one.status for one in push.received] == [410, 200, 200]


def test_an_answer_can_hold_for_so_many_pushes(push: PushService, client: Client) -> None:
    push.answer(TOKEN, 400)
    push.answer(TOKEN, 429, times=2, headers={"retry-after": "7"})
    first = send(client)
    assert (first.status, first.headers["retry-after"]) == (429, "7")
    assert [send(client).status for _ in range(3)] == [429, 400, 400]


def test_an_answer_can_come_without_a_body_or_late(push: PushService, client: Client) -> None:
    push.answer(TOKEN, 503, body=b"", times=1)
    assert send(client)[:2] == (503, b"")
    push.answer(TOKEN, 200, delay=0.2)
    began = time.monotonic()
    assert send(client).status == 200
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("fault", "seen"), [(Fault.RESET, "reset"), (Fault.GOAWAY, "goaway"), (Fault.CUT, "cut")]
)
def test_a_connection_can_fail(push: PushService, client: Client, fault: Fault, seen: str) -> None:
    push.answer(EVERY_TOKEN, fault, times=1)
    assert send(client).status == seen
    again = Client(push)
    assert send(again).status == 200
    again.close()


def test_a_push_can_get_no_answer(push: PushService, client: Client) -> None:
    push.answer(TOKEN, Fault.SILENCE)
    with pytest.raises(TimeoutError):
        send(client, seconds=0.2)
    assert len(push.wait_for(1)) == 1


def test_who_never_opens_the_window_gets_no_more_bodies(push: PushService, client: Client) -> None:
    push.answer(TOKEN, 410, body=b'{"reason": "' + b"x" * 30_000 + b'"}')
    assert [send(client).status for _ in range(2)] == [410, 410]
    with pytest.raises(TimeoutError):
        send(client, seconds=0.2)


@pytest.mark.parametrize("fault", ["expired", "foreign"])
def test_a_bad_certificate_gets_no_push_through(push: PushService, fault: str) -> None:
    pair = push.certificates.make_client(
        fault, topic=push.topic, expired=fault == "expired", foreign=fault == "foreign"
    )
    client = Client(push, pair)  # in TLS 1.3 the client is done before its certificate is judged
    with contextlib.suppress(OSError):
        assert send(client).status == "cut"
    client.close()
    assert push.received == []


def test_in_tls_1_2_a_bad_certificate_fails_in_the_handshake(tmp_path: Path) -> None:
    with PushService(state=tmp_path, newest_tls=ssl.TLSVersion.TLSv1_2) as push:
        pair = push.certificates.make_client("expired", topic=push.topic, expired=True)
        with pytest.raises(OSError):
            Client(push, pair)


def test_another_topic_is_not_ours(push: PushService) -> None:
    other = Client(push, push.certificates.make_client("other"))
    assert send(other, headers={"apns-topic": push.topic}).reason == "BadTopic"
    other.close()


def test_a_listener_hears_of_pushes_and_of_the_last_one_it_missed(tmp_path: Path) -> None:
    with PushService(state=tmp_path) as push, contextlib.closing(Client(push)) as client:
        client.send(OTHER, b'{"mdm": "FIRST"}')
        client.send(OTHER, b'{"mdm": "SECOND"}')
        send(client, "ef" * 32, headers={"apns-expiration": "0"})
        with (
            socket.create_connection(("127.0.0.1", push.listen_port), timeout=5) as listener,
            listener.makefile("rb") as lines,
        ):
            assert json.loads(lines.readline()) == {"token": OTHER, "magic": "SECOND"}
            send(client)
            assert json.loads(lines.readline()) == {"token": TOKEN, "magic": "MAGIC"}
            listener.sendall(json.dumps({"answer": TOKEN, "status": 410}).encode() + b"\n")
            deadline = time.monotonic() + 5
            while send(client).status == 200:
                assert time.monotonic() < deadline


def test_certificates_are_kept_and_keys_are_private(tmp_path: Path) -> None:
    first, second = Certificates(tmp_path), Certificates(tmp_path)
    assert first.topic == second.topic
    assert first.topic.startswith("com.apple.mgmt.External.")
    (uid,) = first.mdm.certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    assert uid.value == first.topic
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}
