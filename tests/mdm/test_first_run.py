"""The setup page: each step is tried for real, says what is wrong, and how it is mended."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from devices import sealing, trials
from devices.models import AuditEntry, NoticePlace, PushCertificate, Trial
from devices.rules.waking import CertificateTrouble
from mdm.desk import first_run
from mdm.desk.first_checks import CHECKIN, CONNECT, Check
from mdm.setup import answering
from passcodes import rollout
from passcodes.models import VaultSays
from staff.models import SigningKey, User
from tests.house import House, Recorder, awake
from tests.mailbox import open_mailbox
from tests.scenes import LOOSE, published

HOST = "localhost:8000"


@pytest.fixture
def admin(house: House) -> Client:
    client = Client(HTTP_HOST=HOST)
    client.force_login(house.admin)
    return client


@pytest.fixture
def everybody(house: House) -> list[User]:
    """Those who may ask, sign and keep have registered, and are pinned."""
    return [house.helpdesk, house.approver, house.keeper, house.keeper2]


def checks(slug: str) -> dict[str, Check]:
    [step] = [one for one in first_run.steps(HOST) if one.slug == slug]
    return {one.text: one for one in step.checks}


def named(slug: str, words: str) -> Check:
    [found] = [check for text, check in checks(slug).items() if words in text]
    return found


def test_a_house_that_has_no_device_begins_with_its_setup(house: House, admin: Client) -> None:
    page = admin.get("/").content.decode()
    assert "to the first device" in page
    assert "Two keepers are registered" in page


def test_whoever_is_no_admin_reads_whom_to_ask(house: House) -> None:
    client = Client()
    client.force_login(house.helpdesk)
    assert house.admin.is_active
    assert "Ask admin" in client.get("/").content.decode()
    refused = client.get(reverse("admin:setup"))
    assert refused.status_code == 403
    assert "Ask admin" in refused.content.decode()
    assert client.post(reverse("admin:setup_check")).status_code == 403
    assert not Trial.objects.exists()


# Addresses


def _certificate(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer[1] if issuer else key, SHA256()), key


@pytest.fixture(scope="module")
def authorities() -> list[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]]:
    return [_certificate("Ours"), _certificate("Another")]


@contextmanager
def door(
    house: House,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    folder: Path,
) -> Iterator[str]:
    """The house's own door behind TLS, as a proxy does it; its address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = house.door.ask("GET", self.path, {}, b"")
            self.send_response(said.status_code)
            self.send_header("Content-Length", str(len(said.content)))
            self.end_headers()
            self.wfile.write(said.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    certificate, key = _certificate("127.0.0.1", authority)
    file = folder / "door.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def pem(authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> str:
    return authority[0].public_bytes(Encoding.PEM).decode()


def test_the_door_answers_under_the_pinned_authority_and_says_its_keys(
    house: House,
    admin: Client,
    settings: Settings,
    tmp_path: Path,
    authorities: list[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]],
) -> None:
    awake()
    with door(house, authorities[0], tmp_path) as settings.DOOR_URL:
        settings.DOOR_TLS_AUTHORITY = pem(authorities[0])
        admin.post(reverse("admin:setup_check"))
    assert named("address", "to check in").state == "yes"
    assert "under the pinned authority" in named("address", "for commands").found
    assert {one.state for one in checks("authority").values()} == {"yes"}
    assert AuditEntry.objects.filter(verb="setup.tried", actor=house.admin).exists()


def test_a_door_under_another_authority_is_refused(
    house: House,
    admin: Client,
    settings: Settings,
    tmp_path: Path,
    authorities: list[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]],
) -> None:
    with door(house, authorities[1], tmp_path) as settings.DOOR_URL:
        settings.DOOR_TLS_AUTHORITY = pem(authorities[0])
        admin.post(reverse("admin:setup_check"))
    found = named("address", "to check in")
    assert found.state == "no"
    assert "unable to get local issuer certificate" in found.found
    assert found.command


def test_a_door_that_nobody_answers_is_said_with_a_command(
    house: House, admin: Client, settings: Settings
) -> None:
    settings.DOOR_URL, settings.SIGN_URL = "https://127.0.0.1:9", "http://127.0.0.1:9"
    page = admin.post(reverse("admin:setup_check"), follow=True).content.decode()
    assert "https://127.0.0.1:9/mdm/checkin does not answer over TLS: Connection refused." in page
    assert "manage.py setup --check" in page


def test_an_address_without_tls_counts_in_the_demo_alone(
    house: House, admin: Client, settings: Settings
) -> None:
    settings.DOOR_URL = "http://127.0.0.1:9"
    admin.post(reverse("admin:setup_check"))
    assert "is not HTTPS" in named("address", "to check in").found


def test_a_page_of_somebody_else_is_not_the_signing_page() -> None:
    assert not answering.is_closed(answering.Answer(200, {}, b""))


# Keys


def told(**keys: str) -> None:
    """What vault and doors have said of their keys."""
    trials.note(CHECKIN, works=True, words="answers", **keys)
    trials.note(CONNECT, works=True, words="answers", **keys)


def test_keys_that_fit_are_told_from_keys_that_do_not(house: House, settings: Settings) -> None:
    house.vault()
    own = sealing.raw_id(sealing.raw(settings.VAULT_PUBLIC_KEY))
    orders = sealing.raw_id(sealing.raw(settings.VAULT_VERIFY_KEY))
    its = sealing.raw_id(sealing.raw(settings.DOOR_PUBLIC_KEY))
    told(boxes=own, orders=orders, door=its)
    states = {text: one.state for text, one in checks("keys").items()}
    assert states.pop("The worker opens what this site seals to it") == "open"
    assert set(states.values()) == {"yes"}

    told(boxes="0" * 16, orders=orders, door=its)
    wrong = named("keys", "seals tokens to the vault’s key")
    assert wrong.state == "no"
    assert "VAULT_PUBLIC_KEY" in wrong.mend
    assert "setup" in wrong.command


def test_a_vault_with_another_signature_is_no_vault_of_ours(
    house: House, settings: Settings
) -> None:
    house.vault()
    assert named("keys", "It signs with the key").state == "yes"
    settings.VAULT_VERIFY_KEY = sealing.written(bytes(31) + b"\1")
    wrong = named("keys", "It signs with the key")
    assert wrong.state == "no"
    assert "somebody else speaks for the vault" in wrong.mend


# What the worker tries


def test_the_push_service_is_tried_by_the_worker(
    house: House, admin: Client, settings: Settings
) -> None:
    settings.APNS_TRANSPORT = "tests.house.Recorder"
    admin.post(reverse("admin:setup_check"))
    assert named("push", "the push service accepts it").found == "The worker is trying."
    assert trials.take_due() == 1
    assert trials.take_due() == 0
    found = named("push", "the push service accepts it")
    assert found.state == "yes"
    assert PushCertificate.objects.get().topic in found.found
    assert named("keys", "The worker opens").state == "yes"


def test_a_certificate_that_the_push_service_refuses_is_no_step_done(
    house: House, admin: Client, settings: Settings
) -> None:
    settings.APNS_TRANSPORT = "tests.house.Recorder"
    Recorder.answers[trials.NO_DEVICE] = CertificateTrouble("BadCertificate")
    try:
        trials.ask(trials.PUSH)
        trials.take_due()
    finally:
        Recorder.answers.clear()
    found = named("push", "the push service accepts it")
    assert found.state == "no"
    assert "BadCertificate" in found.found


def test_a_key_of_another_worker_is_said(house: House, settings: Settings) -> None:
    settings.WORKER_PRIVATE_KEY = sealing.written(bytes(31) + b"\1")
    trials.ask(trials.PUSH)
    trials.take_due()
    assert "not sealed to this worker" in named("push", "the push service accepts it").found
    assert named("keys", "The worker opens").state == "no"


def test_a_worker_that_is_silent_is_said(house: House) -> None:
    trials.ask(trials.PUSH)
    Trial.objects.update(asked_at=datetime.now(UTC) - timedelta(minutes=1))
    found = named("push", "the push service accepts it")
    assert found.found == "The worker has not answered."
    assert found.command == "systemctl start passcodes-worker passcodes-clock"


def test_what_was_tried_the_day_before_yesterday_proves_nothing_now(
    house: House, settings: Settings
) -> None:
    house.vault()
    told(boxes=sealing.raw_id(sealing.raw(settings.VAULT_PUBLIC_KEY)))
    assert named("address", "to check in").state == "yes"
    assert named("keys", "seals tokens").state == "yes"
    Trial.objects.update(at=datetime.now(UTC) - timedelta(hours=48))
    assert named("address", "to check in").state == "open"
    assert named("keys", "seals tokens").state == "open"


def test_a_test_mail_goes_out(house: House, admin: Client, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with open_mailbox() as box:
        settings.EMAIL_URL, settings.EMAIL_HOST = "smtp://127.0.0.1", "127.0.0.1"
        settings.EMAIL_PORT = box.port
        admin.post(reverse("admin:setup_mail"), {"to": "approver@example.org"})
        trials.take_due()
    [letter] = box.letters
    assert letter.to == ["approver@example.org"]
    assert "mail works" in str(letter.message["Subject"])
    assert named("mail", "A test mail has left").state == "yes"


def test_a_mail_server_that_refuses_is_quoted(
    house: House, admin: Client, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with open_mailbox() as box:
        box.refuses = True
        settings.EMAIL_URL, settings.EMAIL_HOST = "smtp://127.0.0.1", "127.0.0.1"
        settings.EMAIL_PORT = box.port
        admin.post(reverse("admin:setup_mail"), {"to": "approver@example.org"})
        trials.take_due()
    found = named("mail", "A test mail has left")
    assert found.state == "no"
    assert "«452 the disk is full»" in found.found


def test_a_mail_server_that_is_not_there_and_a_letter_that_is_none_are_told_apart(
    house: House, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_URL, settings.EMAIL_HOST, settings.EMAIL_PORT = "smtp://here", "127.0.0.1", 9
    trials.ask(trials.MAIL, to="approver@example.org")
    trials.take_due()
    found = named("mail", "A test mail has left").found
    assert found == "127.0.0.1 does not answer at port 9: Connection refused."
    settings.ORGANISATION = "Two\nlines"
    with open_mailbox() as box:
        settings.EMAIL_PORT = box.port
        trials.ask(trials.MAIL, to="approver@example.org")
        trials.take_due()
    assert "BadHeaderError" in named("mail", "A test mail has left").found


def test_a_place_at_which_notices_do_not_arrive_is_named(house: House) -> None:
    NoticePlace.objects.create(
        name="slack", channel="slack", host="hooks.example.org", trouble="It answers 500."
    )
    found = named("mail", "slack")
    assert (found.state, found.found) == ("care", "It answers 500.")


def test_an_address_that_is_none_is_not_written_to(house: House, admin: Client) -> None:
    answer = admin.post(reverse("admin:setup_mail"), {"to": "approver"})
    assert "Enter a valid email address." in answer.content.decode()
    assert not Trial.objects.filter(what=trials.MAIL).exists()


# People, policy, device


def test_a_house_in_which_all_is_there_stands(everybody: list[User]) -> None:
    assert {one.state for one in checks("people").values()} == {"yes"}


def test_a_passkey_that_nobody_pinned_is_told_with_what_is_next(
    house: House, everybody: list[User]
) -> None:
    print_ = SigningKey.objects.get(person=house.approver).fingerprint
    house.charter(lambda now: now.revoked(print_))
    found = named("people", "An approver is")
    assert found.state == "open"
    assert "not known to the vault: approver" in found.found
    assert found.link == ("Charter", reverse("admin:charter"))


def test_before_there_is_a_charter_the_console_pins(everybody: list[User]) -> None:
    VaultSays.objects.all().delete()
    found = named("people", "Two keepers")
    assert "vault_trust genesis --pin" in found.command
    for key in SigningKey.objects.all():
        assert key.fingerprint not in found.command  # it is spoken, and typed as it was heard


def test_a_policy_counts_when_it_is_pushed_to_a_group(house: House) -> None:
    assert {one.state for one in checks("policy").values()} == {"open"}
    version = published(house, LOOSE)
    assert named("policy", "published").state == "yes"
    assert named("policy", "pushed").state == "open"
    rollout.push(version.pk, group_ids=[house.group("Tills").pk], by=house.author)
    assert named("policy", "pushed").state == "yes"


def test_the_first_device_ends_the_setup_and_its_page_stays(house: House, admin: Client) -> None:
    phone = house.enrolled_phone(passcode="4711")
    assert "to the first device" not in admin.get("/").content.decode()
    assert str(house.device(phone)) in named("device", "An unlock token").found
    page = admin.get(reverse("admin:setup")).content.decode()
    assert "Check again" in page
    assert (
        "steps are open" in page
    )  # nobody has tried the addresses, and nothing is known to be wrong
