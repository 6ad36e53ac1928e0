"""A house full of devices that are rows, some of them with an identity that can sign."""

import base64
import uuid
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.db import connection
from django.utils import timezone

from devices import push_certificates
from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS
from mdm.enrollment.authority import Authority
from passcodes import configurations, policies
from passcodes.models import Policy, PolicyVersion
from passcodes.rules.requirements import Requirements
from staff.models import Scope, User
from staff.setup import setup_roles
from tests.scenes import profile
from tests.simulator.push_certificates import Certificates

ROLLED_OUT = 5_000
ALL = 20_000
SIGNING = 64  # devices that speak at the door
BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Signer:
    """A device at the door: one key does for all, each has a certificate of its own."""

    device: Device
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Filled:
    boss: User
    policy: Policy
    group: DeviceGroup
    push: Path
    topic: str
    signers: list[Signer]
    numbers: "count[int]"

    def version(self) -> PolicyVersion:
        """A new version, published: stricter than the last."""
        stricter = Requirements(force_pin=True, min_length=next(self.numbers))
        draft = policies.draft(self.policy, stricter, by=self.boss)
        return policies.publish(draft.pk, by=self.boss)


def fill(folder: Path) -> Filled:
    setup_roles()
    boss = User.objects.create_superuser("boss", password="not for signing in")  # noqa: S106 - a row of a passing database
    Scope.objects.create(user=boss, everything=True)
    push = Certificates(folder / "push")
    push_certificates.load(
        Path(push.mdm.certificate_path).read_bytes(), Path(push.mdm.key_path).read_bytes(), by=None
    )
    key = rsa.generate_private_key(65537, 2048)
    authority = Authority.load(settings.CA_CERTIFICATE, settings.CA_PRIVATE_KEY)
    certificates = [identity(authority, key, number) for number in range(SIGNING)]
    devices = Device.objects.bulk_create(
        [_row(n, certificates[n] if n < SIGNING else None) for n in range(ALL)], batch_size=BATCH
    )
    group = DeviceGroup.objects.create(name="Phones")
    group.devices.add(*devices[:ROLLED_OUT])
    for name in ("Wi-Fi", "VPN"):
        withheld = configurations.upload(name, profile(f"org.example.{name.lower()}"), by=boss)
        configurations.assign(withheld.pk, group_ids=[group.pk], device_ids=[], by=boss)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    signers = [Signer(devices[n], one, key) for n, one in enumerate(certificates)]
    policy = policies.create("Phones", by=boss)
    return Filled(boss, policy, group, folder / "push", push.topic, signers, count(4))


def _row(number: int, certificate: x509.Certificate | None) -> Device:
    now = timezone.now()
    digest = certificate.fingerprint(hashes.SHA256()).hex() if certificate else None
    return Device(
        udid=f"00008130-{number:016X}",
        serial=base64.b32encode(number.to_bytes(5, "big") + b"mdm")[-10:].decode(),
        name=f"iPhone {number:05}",
        user_name=f"user.{number:05}",
        model_name="iPhone",
        product_name="iPhone16,1",
        platform="ios",
        os_version="26.1",
        access_rights=ALL_RIGHTS,
        enrollment_state=Enrollment.ENROLLED,
        identity=digest,
        identity_until=now + timedelta(days=365),
        authenticated_at=now,
        enrolled_at=now,
        last_seen_at=now,
        push_token=number.to_bytes(32, "big"),
        push_magic=str(uuid.uuid4()).upper(),
        token_since=now,
    )


def identity(authority: Authority, key: rsa.RSAPrivateKey, number: int) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Device {number}")])
    return authority.issue(key.public_key(), subject)
