"""The enrollment profile: the identity a device gets, and the MDM payload that uses it.

The payload identifiers stay the same for ever, so that a later profile replaces this one; a
changed URL or topic would not be taken (Apple: "MDM", ServerURL).
"""

import plistlib
from dataclasses import dataclass, field
from typing import Any, assert_never

from devices.rules.channels import ALL_RIGHTS, MINIMUM_RIGHTS, Platform

MEDIA_TYPE = "application/x-apple-aspen-config"
USER_CHANNELS = "com.apple.mdm.per-user-connections"
BOOTSTRAP_TOKENS = "com.apple.mdm.bootstraptoken"
TOPICS = "com.apple.mgmt."  # how every push topic of an MDM server begins
SIGN_AND_ENCRYPT = 5  # Key Usage
RSA_BITS = 2048


class Unusable(Exception):
    """No device could enroll with this; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Pkcs12Identity:
    """An identity made by us: the private key travels in the profile."""

    uuid: str
    data: bytes = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScepIdentity:
    """An identity the device makes itself and lets us sign."""

    uuid: str
    url: str
    common_name: str
    challenge: str = field(repr=False)
    ca_fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class RootCertificate:
    """A certificate that the device shall trust, because the server's TLS hangs on it."""

    uuid: str
    der: bytes = field(repr=False)
    file_name: str = "root.cer"
    pinned: bool = False  # the device then talks to the server under this root only


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentFacts:
    """All that an enrollment profile says."""

    identifier: str  # com.example.mdm; the payloads' identifiers begin with it
    name: str
    organisation: str
    uuid: str
    mdm_uuid: str
    identity: Pkcs12Identity | ScepIdentity
    server_url: str
    check_in_url: str
    topic: str
    platform: Platform = Platform.UNKNOWN
    shared_ipad: bool = False
    keeps_bootstrap_tokens: bool = True
    access_rights: int = ALL_RIGHTS
    roots: tuple[RootCertificate, ...] = ()


def enrollment(facts: EnrollmentFacts) -> bytes:
    """The profile as an XML property list, or Unusable."""
    if not facts.topic.startswith(TOPICS):
        raise Unusable(f"The topic of the push certificate must begin with {TOPICS}")
    for url in (facts.server_url, facts.check_in_url):
        if not url.startswith(
            ("https://", "http://")
        ):  # http: the demo; production checks refuse it
            raise Unusable("The address of the device door must be a URL.")
    if facts.access_rights & MINIMUM_RIGHTS != MINIMUM_RIGHTS:
        raise Unusable(f"The access rights must hold at least {MINIMUM_RIGHTS}.")
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": facts.identifier,
        "PayloadUUID": facts.uuid,
        "PayloadDisplayName": facts.name,
        "PayloadOrganization": facts.organisation,
        "PayloadDescription": f"Lets {facts.organisation} manage this device.",
        "PayloadContent": [*_roots(facts), _identity(facts), _mdm(facts)],
    }
    if facts.platform is Platform.MACOS:
        profile["PayloadScope"] = "System"
    return plistlib.dumps(profile, sort_keys=False)


def _payload(
    facts: EnrollmentFacts, kind: str, name: str, uuid: str, title: str
) -> dict[str, Any]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{facts.identifier}.{name}",
        "PayloadUUID": uuid,
        "PayloadDisplayName": title,
        "PayloadOrganization": facts.organisation,
    }


def _roots(facts: EnrollmentFacts) -> list[dict[str, Any]]:
    return [
        _payload(facts, "com.apple.security.root", f"root.{number}", root.uuid, "Trusted root")
        | {"PayloadContent": root.der, "PayloadCertificateFileName": root.file_name}
        for number, root in enumerate(facts.roots, start=1)
    ]


def _identity(facts: EnrollmentFacts) -> dict[str, Any]:
    title = "Identity of the device"
    match facts.identity:
        case Pkcs12Identity(uuid, data, password):
            kind = "com.apple.security.pkcs12"
            return _payload(facts, kind, "identity", uuid, title) | {
                "PayloadContent": data,
                "PayloadCertificateFileName": "identity.p12",
                "Password": password,
                "KeyIsExtractable": False,
                "AllowAllAppsAccess": False,
            }
        case ScepIdentity(uuid, url, common_name, challenge, ca_fingerprint):
            kind = "com.apple.security.scep"
            content: dict[str, Any] = {
                "URL": url,
                "Name": facts.organisation,
                "Subject": [[["CN", common_name]]],
                "Challenge": challenge,
                "Keysize": RSA_BITS,
                "Key Type": "RSA",
                "Key Usage": SIGN_AND_ENCRYPT,
                "Retries": 3,
                "RetryDelay": 10,
                "KeyIsExtractable": False,
                "AllowAllAppsAccess": False,
            }
            if ca_fingerprint:
                content["CAFingerprint"] = ca_fingerprint
            return _payload(facts, kind, "identity", uuid, title) | {"PayloadContent": content}
        case _:
            assert_never(facts.identity)


def _mdm(facts: EnrollmentFacts) -> dict[str, Any]:
    payload = _payload(facts, "com.apple.mdm", "mdm", facts.mdm_uuid, "Device management") | {
        "IdentityCertificateUUID": facts.identity.uuid,
        "Topic": facts.topic,
        "ServerURL": facts.server_url,
        "CheckInURL": facts.check_in_url,
        "SignMessage": True,
        "CheckOutWhenRemoved": True,
        "AccessRights": facts.access_rights,
    }
    if capabilities := _capabilities(facts):
        payload["ServerCapabilities"] = capabilities
    if pinned := [root.uuid for root in facts.roots if root.pinned]:
        payload["ServerURLPinningCertificateUUIDs"] = pinned
        payload["CheckInURLPinningCertificateUUIDs"] = pinned
    return payload


def _capabilities(facts: EnrollmentFacts) -> list[str]:
    """What this server understands; user channels can never be added by a later profile."""
    if facts.platform is Platform.MACOS:
        keeps = [BOOTSTRAP_TOKENS] if facts.keeps_bootstrap_tokens else []
        return [USER_CHANNELS, *keeps]
    return [USER_CHANNELS] if facts.shared_ipad else []
