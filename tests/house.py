"""The whole house for a test: its people, its clock, its door, and simulated phones in front of it.

    def test_…(house: House) -> None:
        phone = house.enrolled_phone(passcode="1234")
        house.clock.forward(minutes=15)
        house.tick()                     # all that is due by itself happens once
        phone.connect()
        assert house.device(phone).is_enrolled

Devices speak to the door as they would over the network, bytes in and bytes out, without the
staff site's middleware; pushes are recorded instead of sent.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.contrib.auth.models import Group
from django.core.handlers.base import BaseHandler
from django.core.signals import got_request_exception
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import set_urlconf
from django.utils import timezone

from devices import identities, push_certificates, waking
from devices import inactivity as silence
from devices import notices as sending
from devices.apns.transport import Address, Credentials
from devices.models import AuditEntry, Command, Device, DeviceGroup, PushCertificate
from devices.models.enrollment import Identity
from devices.rules.channels import Platform
from devices.rules.waking import Accepted, Outcome
from mdm.enrollment import links
from passcodes import (
    acts,
    clear_delivery,
    clear_state,
    codes,
    custody,
    enforcement,
    fleet,
    fresh_tokens,
    grouping,
    inactivity,
    lost_mode,
    notices,
    vault_says,
    waves,
    ways,
)
from passcodes.rules.charter import Charter, Person
from staff.models import Scope, User
from tests import made_once
from tests.authenticator import Passkey
from tests.simulator.phone import Phone
from vault import charter as charters
from vault import keyring, loop, telling
from vault.journal import Journal

PASSWORD = "a long word for tests"
TOPIC = "com.apple.mgmt.External.0f6c1d7e-tests"
PLATFORMS = {"iphone": Platform.IOS, "ipad": Platform.IPADOS, "mac": Platform.MACOS}
KEY = ec.generate_private_key(ec.SECP256R1())
PINNED = {  # whom the vault knows from the first moment, and what each may say there
    "helpdesk": "ask",
    "helpdesk2": "ask",
    "someone": "ask",
    "colleague": "ask",
    "owner": "yes",
    "thief": "ask",
    "both": "ask yes",
    "approver": "yes",
    "approver2": "yes",
    "keeper": "keep",
    "keeper2": "keep",
    "admin": "",
    "safe": "glass",
    "author": "",
    "auditor": "",
    "outsider": "",
}
PASSKEYS = {name: Passkey() for name in PINNED}
VAULT_STATES: list[Path] = []  # the last is the vault that people hear


def pin_everybody(state: Path) -> None:
    """The first charter, as two operators would make it at the vault's console."""
    people = tuple(
        Person(name, frozenset(roles.split()), (PASSKEYS[name].pinned(),))
        for name, roles in sorted(PINNED.items())
    )
    with Journal(state) as journal:
        if not journal.charter[0]:
            charters.put_in_force(Charter(1, people), journal, why="genesis")
        loop.tick(keyring=keyring.load(), journal=journal)
    VAULT_STATES.append(state)


def awake() -> None:
    """The vault has spoken lately, as it does each 30 seconds; it has not looked at requests."""
    try:
        vault_says.house()
    except vault_says.Silent:
        with Journal(VAULT_STATES[-1]) as journal:
            telling.pulse_if_due(journal, charters.load(journal))


class Clock:
    """The time that processes and phones are told."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def seconds(self) -> float:
        return self.now().timestamp()

    def back_to(self, moment: datetime) -> None:
        """That moment is now again."""
        self._ahead = moment - datetime.now(UTC)

    def forward(self, **how_long: float) -> datetime:
        """`forward(minutes=15)`: that much later it is now."""
        self._ahead += timedelta(**how_long)
        return self.now()


@dataclass(frozen=True, slots=True)
class Push:
    """One push as the push service would have got it."""

    key: int
    token: bytes
    magic: str


class Recorder:
    """A transport that remembers what it was given; `answers` says what comes of a token."""

    pushes: list[Push] = []
    answers: dict[bytes, Outcome] = {}

    def send(
        self, addresses: Sequence[Address], *, credentials: Credentials
    ) -> Mapping[int, Outcome]:
        assert credentials.topic == TOPIC
        self.pushes.extend(Push(one.key, one.token, one.magic) for one in addresses)
        return {one.key: self.answers.get(one.token, Accepted()) for one in addresses}


class Door:
    """The device door as a transport for simulated devices; its faults are not swallowed."""

    def __init__(self) -> None:
        self._handler = BaseHandler()
        with override_settings(MIDDLEWARE=[]):
            self._handler.load_middleware()
        self.lets_faults_pass = False  # True: a fault becomes the 500 that a device would see

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        response = self.ask(method, path, headers, body)
        lowered = {name.lower(): value for name, value in response.items()}
        return response.status_code, lowered, response.content

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        address: str = "127.0.0.1",
    ) -> HttpResponse:
        faults: list[BaseException] = []

        def note(**_about: Any) -> None:
            fault = sys.exc_info()[1]
            assert fault is not None
            faults.append(fault)

        kind = headers.get("Content-Type", "")
        others = {name: value for name, value in headers.items() if name != "Content-Type"}
        request = RequestFactory(REMOTE_ADDR=address).generic(
            method, path, body, kind, headers=others
        )
        request.urlconf = "mdm.door.urls"
        got_request_exception.connect(note)
        try:
            response = self._handler.get_response(request)
        finally:
            got_request_exception.disconnect(note)
            set_urlconf(None)  # the staff site's addresses again, for whoever asks next
        if faults and not self.lets_faults_pass:
            raise faults[0]
        assert isinstance(response, HttpResponse)  # no view streams here
        return response


class House:
    """Everything a test needs of the house, by its own words."""

    def __init__(self, clock: Clock, vault_state: Path) -> None:
        self.clock = clock
        self.vault_state = vault_state
        self.door = Door()
        self.phones: list[Phone] = []
        self.pushes = Recorder.pushes
        self.push_answers = Recorder.answers
        made_once.birth(vault_state, self._is_born)
        VAULT_STATES.append(vault_state)
        awake()

    def _is_born(self) -> None:
        load_push_certificate()
        pin_everybody(self.vault_state)

    # The vault knows people by their passkeys.

    def charter(self, change: Callable[[Charter], Charter]) -> None:
        """Another charter from now on, as if keepers had signed it long ago."""
        with Journal(self.vault_state) as journal:
            charters.put_in_force(change(charters.load(journal)), journal, why="a test")
            loop.tick(keyring=keyring.load(), journal=journal)

    # People

    @cached_property
    def helpdesk(self) -> User:
        return self.person("helpdesk")

    @cached_property
    def approver(self) -> User:
        return self.person("approver")

    @cached_property
    def approver2(self) -> User:
        return self.person("approver", name="approver2")

    @cached_property
    def author(self) -> User:
        return self.person("author")

    @cached_property
    def auditor(self) -> User:
        return self.person("auditor")

    @cached_property
    def admin(self) -> User:
        return self.person("admin")

    @cached_property
    def keeper(self) -> User:
        return self.person("keeper")

    @cached_property
    def keeper2(self) -> User:
        return self.person("keeper", name="keeper2")

    @cached_property
    def safe(self) -> User:
        """Whoever has taken the key from the safe."""
        return self.person("approver", name="safe")

    @cached_property
    def outsider(self) -> User:
        """May sign in, and nothing else."""
        user = User.objects.create_user("outsider", password=PASSWORD, is_staff=True)
        PASSKEYS["outsider"].row(user)
        return user

    def person(self, role: str, *, name: str | None = None, everything: bool = True) -> User:
        """Somebody with one role, who may act on every device."""
        group = Group.objects.filter(name=role).first()
        if group is None:
            made_once.roles()
            group = Group.objects.get(name=role)
        user = User.objects.create_user(name or role, password=PASSWORD, is_staff=True)
        user.groups.add(group)
        if everything:
            Scope.objects.create(user=user, everything=True)
        if user.username in PASSKEYS:
            PASSKEYS[user.username].row(user)
        return user

    # Devices

    def group(self, name: str) -> DeviceGroup:
        return DeviceGroup.objects.get_or_create(name=name)[0]

    def phone(self, kind: str = "iphone", **how: Any) -> Phone:
        """A device in front of the door, not enrolled."""
        phone = Phone(
            kind,
            transport=self.door,
            clock=self.clock.seconds,
            seed=how.pop("seed", len(self.phones)),
            **how,
        )
        self.phones.append(phone)
        return phone

    def link(self, phone: Phone, **how: Any) -> str:
        """The address of a new one-time link for it."""
        how.setdefault("by", None)
        how.setdefault("identity_kind", Identity.PKCS12)  # no key to be made by the phone
        return links.make(PLATFORMS[phone.kind], **how)[1]

    def give_profile(self, phone: Phone, **how: Any) -> None:
        """The phone fetches an enrollment profile by a link and installs it; it sends nothing."""
        status, _, body = self.door("GET", self.link(phone, **how), {}, b"")
        assert status == 200, body
        phone.install_enrollment_profile(body)

    def enrolled_phone(
        self,
        kind: str = "iphone",
        *,
        group: DeviceGroup | None = None,
        assigned_to: User | None = None,
        connects: bool = True,
        **how: Any,
    ) -> Phone:
        """A device that has enrolled and, unless told otherwise, answered the first questions."""
        phone = self.phone(kind, **how)
        self.give_profile(phone, group=group, assigned_to=assigned_to)
        phone.enroll()
        if connects:
            phone.connect()
        return phone

    def device(self, phone: Phone) -> Device:
        """Its row, as it stands now."""
        return Device.objects.get(udid=phone.enrollment_id or phone.udid)

    def commands(self, phone: Phone, request_type: str | None = None) -> list[Command]:
        """What it was ever to be asked, oldest first."""
        commands = Command.objects.filter(device=self.device(phone)).order_by("queued_at", "uuid")
        if request_type:
            commands = commands.filter(request_type=request_type)
        return list(commands)

    def waiting(self, phone: Phone) -> list[str]:
        """The request types that are open for it, in the order in which they would go out."""
        open_ones = Command.objects.open().filter(device=self.device(phone))
        return list(open_ones.values_list("request_type", flat=True))

    # What happens by itself

    def tick(self) -> None:
        """Once around the clock: everything that is due happens."""
        self.vault()
        for due in DUE:
            due()

    def vault(self) -> None:
        """The vault looks once for what was signed."""
        with Journal(self.vault_state) as journal:
            loop.tick(keyring=keyring.load(), journal=journal)

    def woken(self) -> list[Phone]:
        """Push to whoever is due; the phones that heard it connect."""
        before = len(self.pushes)
        waking.push_due()
        magics = {push.magic for push in self.pushes[before:]}
        woken = [phone for phone in self.phones if any(map(phone.hears_push, magics))]
        for phone in woken:
            phone.connect()
        return woken

    def audit(self, phone: Phone | None = None) -> list[str]:
        """The verbs of what happened, oldest first."""
        entries = AuditEntry.objects.order_by("pk")
        if phone:
            entries = entries.filter(device=self.device(phone))
        return list(entries.values_list("verb", flat=True))


DUE = (
    enforcement.close_due,
    enforcement.ask_due,
    grouping.settle_due,
    ways.settle_due,
    waves.go_on_due,
    clear_state.expire_due,
    codes.expire_due,
    lost_mode.forget_due,
    clear_delivery.look_due,
    clear_delivery.expose_due,
    identities.renew_due,
    fresh_tokens.ask_due,
    custody.find_due,
    acts.expire_due,
    inactivity.close_due,
    silence.probe_due,
    push_certificates.warn_due,
    notices.tend_due,
    sending.send_due,
    fleet.note,
    waking.push_due,
)


def push_pair(topic: str = TOPIC) -> tuple[bytes, bytes]:
    """A push certificate and its key, as PEM."""
    now = datetime.now(UTC)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, topic),
            x509.NameAttribute(NameOID.COMMON_NAME, "APSP:tests"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(KEY, hashes.SHA256())
    )
    key = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key


def load_push_certificate(topic: str = TOPIC) -> PushCertificate:
    return push_certificates.load(*push_pair(topic), by=None)


@contextmanager
def house_in(folder: Path) -> Iterator[House]:
    """A house whose vault lives in this folder; its clock is everybody's."""
    clock = Clock()
    vault_state = folder / "vault"
    vault_state.mkdir(mode=0o700)
    Recorder.pushes.clear()
    Recorder.answers.clear()
    with (
        patch.object(timezone, "now", clock.now),
        override_settings(APNS_TRANSPORT="tests.house.Recorder"),
        made_once.rsa_keys(),
        made_once.bundles(),
    ):
        yield House(clock, vault_state)


@pytest.fixture
def house(db: None, tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path) as made:
        yield made
