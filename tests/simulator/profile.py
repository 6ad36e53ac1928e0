"""Profiles as a device reads them: a plist or a CMS around one, and the enrollment in it."""

import plistlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.simulator.requirements import PAYLOAD_TYPE as PASSCODE
from tests.simulator.signing import PrivateKey

MDM = "com.apple.mdm"
PKCS12 = "com.apple.security.pkcs12"
SCEP = "com.apple.security.scep"
RESTRICTIONS = "com.apple.applicationaccess"
HEAD = ("PayloadType", "PayloadIdentifier", "PayloadUUID", "PayloadVersion", "PayloadDisplayName")
TOPIC_BEGINS = "com.apple.mgmt."
NEEDS = {2: 1, 128: 64}  # a right, and the one it is nothing without


class ProfileRefused(Exception):
    """A device would not install this; says why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An installed profile."""

    raw: bytes
    content: Mapping[str, Any]

    @property
    def identifier(self) -> str:
        return str(self.content["PayloadIdentifier"])

    @property
    def uuid(self) -> str:
        return str(self.content["PayloadUUID"])

    @property
    def name(self) -> str:
        return str(self.content.get("PayloadDisplayName") or self.identifier)

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return list(self.content["PayloadContent"])

    def of_type(self, payload_type: str) -> list[dict[str, Any]]:
        return [one for one in self.payloads if one.get("PayloadType") == payload_type]

    @property
    def passcode_payloads(self) -> list[dict[str, Any]]:
        return self.of_type(PASSCODE)

    @property
    def forbids_changing_the_passcode(self) -> bool:
        return any(
            one.get("allowPasscodeModification") is False for one in self.of_type(RESTRICTIONS)
        )

    def listed(self) -> dict[str, Any]:
        """Its entry in a ProfileList."""
        head = {key: self.content[key] for key in HEAD if key in self.content}
        return {
            **head,
            "PayloadRemovalDisallowed": bool(self.content.get("PayloadRemovalDisallowed")),
            "HasRemovalPasscode": False,
            "IsEncrypted": False,
            "IsManaged": True,
            "PayloadContent": [
                {key: one[key] for key in HEAD if key in one} for one in self.payloads
            ],
        }


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What the MDM payload and the identity beside it say."""

    profile: Profile
    key: PrivateKey
    certificate: x509.Certificate
    topic: str
    server_url: str
    check_in_url: str
    sign_messages: bool
    rights: int
    check_out_when_removed: bool


def read(data: bytes) -> Profile:
    """A signed profile is taken out of its envelope; who signed it is not asked here."""
    content = plist(data if _is_plist(data) else _unwrapped(data))
    if content is None or content.get("PayloadType") != "Configuration":
        raise ProfileRefused("This is not a configuration profile.")
    for key in ("PayloadIdentifier", "PayloadUUID"):
        if not isinstance(content.get(key), str) or not content[key]:
            raise ProfileRefused(f"The profile has no {key}.")
    payloads = content.get("PayloadContent")
    if not isinstance(payloads, list) or not all(isinstance(one, dict) for one in payloads):
        raise ProfileRefused("The profile has no list of payloads.")
    for payload in payloads:
        for key in ("PayloadType", "PayloadIdentifier", "PayloadUUID", "PayloadVersion"):
            if key not in payload:
                raise ProfileRefused(f"A payload has no {key}.")
    return Profile(raw=data, content=content)


def plist(data: bytes) -> dict[str, Any] | None:
    """The dictionary of a property list; None if it is anything else."""
    try:
        content = plistlib.loads(data)
    except Exception:  # noqa: BLE001  # plistlib keeps no list of what it raises
        return None
    return content if isinstance(content, dict) else None


Identity = tuple[PrivateKey, x509.Certificate]


def no_scep(_content: Mapping[str, Any]) -> Identity:
    raise ProfileRefused("Nothing here can ask a SCEP server.")


def enrollment(
    data: bytes, *, scep: Callable[[Mapping[str, Any]], Identity] = no_scep
) -> Enrollment:
    """The enrollment in a profile; refused where a device would refuse it.

    `scep` gets an identity by what the SCEP payload says.
    """
    profile = read(data)
    if len(profile.of_type(MDM)) != 1:
        raise ProfileRefused("An enrollment profile has exactly one MDM payload.")
    (mdm,) = profile.of_type(MDM)
    for key in ("ServerURL", "Topic", "IdentityCertificateUUID"):
        if not isinstance(mdm.get(key), str) or not mdm[key]:
            raise ProfileRefused(f"The MDM payload has no {key}.")
    if not mdm["Topic"].startswith(TOPIC_BEGINS):
        raise ProfileRefused(f"The topic does not begin with {TOPIC_BEGINS}")
    rights = mdm.get("AccessRights")
    if not isinstance(rights, int) or not 0 < rights <= 8191:
        raise ProfileRefused("The MDM payload has no access rights.")
    for right, needed in NEEDS.items():
        if rights & right and not rights & needed:
            raise ProfileRefused(f"Access right {right} needs {needed}.")
    private_key, certificate = _identity(profile, mdm["IdentityCertificateUUID"], scep)
    return Enrollment(
        profile=profile,
        key=private_key,
        certificate=certificate,
        topic=mdm["Topic"],
        server_url=mdm["ServerURL"],
        check_in_url=mdm.get("CheckInURL") or mdm["ServerURL"],
        sign_messages=bool(mdm.get("SignMessage", False)),
        rights=rights,
        check_out_when_removed=bool(mdm.get("CheckOutWhenRemoved", False)),
    )


def _identity(
    profile: Profile, uuid: str, scep: Callable[[Mapping[str, Any]], Identity]
) -> Identity:
    for payload in profile.payloads:
        if payload["PayloadUUID"] == uuid:
            break
    else:
        raise ProfileRefused("IdentityCertificateUUID names no payload of this profile.")
    if payload["PayloadType"] == SCEP:
        return scep(payload["PayloadContent"])
    if payload["PayloadType"] != PKCS12:
        raise ProfileRefused("IdentityCertificateUUID names no identity.")
    try:
        key, certificate = opened(
            payload["PayloadContent"], str(payload.get("Password", "")).encode()
        )
    except (KeyError, TypeError, ValueError):
        raise ProfileRefused("The PKCS#12 does not open with its password.") from None
    if certificate is None or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ProfileRefused("The PKCS#12 holds no identity.")
    return key, certificate


def opened(bundle: bytes, password: bytes) -> tuple[object, x509.Certificate | None]:
    """The key and the certificate of a PKCS#12; ValueError if it does not open."""
    key, certificate, _ = pkcs12.load_key_and_certificates(bundle, password)
    return key, certificate


def _is_plist(data: bytes) -> bool:
    return data.startswith(b"bplist") or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _unwrapped(data: bytes) -> bytes:
    try:
        signed = cms.ContentInfo.load(data)["content"]
        return bytes(signed["encap_content_info"]["content"].native)
    except (KeyError, TypeError, ValueError):
        raise ProfileRefused("This is neither a profile nor a signed one.") from None
