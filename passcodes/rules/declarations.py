"""A passcode policy as declarations: which devices take it so, what they are told, what proves it.

A device fetches the set that is declared for it, puts it into effect by itself and reports. Only
its own report that the declaration, with the very ServerToken that stands in the set, is active
and valid proves that the policy is there; until then its word on the passcode proves nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from devices.rules.channels import Platform
from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.payload import DECLARATION_TYPE, settings
from passcodes.rules.requirements import Requirements

ACTIVATION_TYPE = "com.apple.activation.simple"
SUBSCRIPTION_TYPE = "com.apple.configuration.management.status-subscriptions"
STATUS_IDENTIFIER = "org.passcodes.status"
ACTIVATION_IDENTIFIER = "org.passcodes.activation.{}"
IS_PRESENT, IS_COMPLIANT = "passcode.is-present", "passcode.is-compliant"

CAPABILITIES = "management.client-capabilities"
DECLARATIONS = "management.declarations"

MOST_ENTRIES = 500  # of one list that grows by reports
MOST_REASONS = 5
LONGEST_REASON = 200

# The oldest systems that take every key we declare and send full reports; and which of these say
# by themselves how their passcode stands (Apple: "Passcode settings", "StatusPasscodeIsCompliant").
OLDEST = {Platform.IOS: (17, 0), Platform.IPADOS: (17, 0), Platform.MACOS: (13, 1)}
REPORTING = frozenset({Platform.IOS, Platform.IPADOS})


class Kind(StrEnum):
    """The four lists of a device's set, by the word in the address of a declaration."""

    ACTIVATION = "activation"
    CONFIGURATION = "configuration"
    ASSET = "asset"
    MANAGEMENT = "management"


LISTS = {  # how the lists are called where the set is named, and in lower case where it is reported
    Kind.ACTIVATION: "Activations",
    Kind.CONFIGURATION: "Configurations",
    Kind.ASSET: "Assets",
    Kind.MANAGEMENT: "Management",
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """One member of a set; its token changes whenever its content does."""

    kind: Kind
    type: str
    identifier: str
    payload: Mapping[str, Any]
    server_token: str


@dataclass(frozen=True, slots=True)
class DeclaredSet:
    """Everything that is declared for one channel of a device."""

    members: tuple[Declaration, ...] = ()

    @property
    def token(self) -> str:
        """The DeclarationsToken: another one whenever the set or any member is another."""
        named = sorted((one.kind, one.identifier, one.server_token) for one in self.members)
        return _digest(named)

    def find(self, kind: str, identifier: str) -> Declaration | None:
        for one in self.members:
            if (one.kind.value, one.identifier) == (kind, identifier):
                return one
        return None


class Validity(StrEnum):
    UNKNOWN = "unknown"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Reported:
    """What a device says of one declaration."""

    server_token: str | None
    active: bool
    validity: Validity
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a device reports by itself: what has changed, or everything."""

    items: Mapping[str, Any] = field(default_factory=dict, repr=False)
    errors: tuple[Mapping[str, Any], ...] = ()
    is_full: bool = False


class Standing(StrEnum):
    """What a report says of the declaration that we want there."""

    IN_FORCE = "in force"
    NOT_IN_FORCE = "not in force"  # invalid, or known and not active
    NOT_TOLD = "not told"


def refusal(
    *,
    platform: Platform,
    os_version: str,
    supervised: bool | None,
    shared_ipad: bool,
    user_enrollment: bool,
) -> str | None:
    """Why this device gets its policy as a profile, as a sentence; None: it gets a declaration.

    `supervised` None is a device that has not described itself yet: an iPad may still turn out to
    be a Shared iPad, and a Mac unsupervised.
    """
    oldest = OLDEST.get(platform)
    if oldest is None:
        return "This kind of device gets its policy as a profile."
    if _version(os_version) < oldest:
        return f"Its system is older than {oldest[0]}.{oldest[1]}."
    if shared_ipad:
        return "A Shared iPad takes no passcode settings."
    if platform is not Platform.IOS and supervised is None:
        return "The device has not described itself yet."
    if platform is Platform.MACOS and (user_enrollment or not supervised):
        return "Only a supervised Mac takes passcode settings as a declaration."
    return None


def passcode_settings(
    requirements: Requirements, *, identifier: str, platform: Platform, edition: object
) -> Declaration:
    """A policy's version as a configuration.

    `edition` makes its token differ from that of an equal one that was declared before, so that a
    report on the earlier one is never taken for a report on this one.
    """
    payload = settings(requirements, platform=platform)
    return _declaration(
        Kind.CONFIGURATION, DECLARATION_TYPE, identifier, payload, edition=str(edition)
    )


def activation(name: object, configurations: Iterable[str]) -> Declaration:
    """What puts configurations into effect: without one they are inert. One for each concern."""
    payload = {"StandardConfigurations": list(configurations)}
    identifier = ACTIVATION_IDENTIFIER.format(name)
    return _declaration(Kind.ACTIVATION, ACTIVATION_TYPE, identifier, payload)


def subscription() -> tuple[Declaration, Declaration]:
    """Has the device report by itself when its passcode comes, goes, or stops being enough."""
    items = [{"Name": name} for name in (IS_PRESENT, IS_COMPLIANT)]
    subscribed = _declaration(
        Kind.CONFIGURATION, SUBSCRIPTION_TYPE, STATUS_IDENTIFIER, {"StatusItems": items}
    )
    return subscribed, activation("status", [STATUS_IDENTIFIER])


def merged(known: Mapping[str, Any], report: StatusReport) -> dict[str, Any]:
    """What is known after the report, by the names of status items; what we never read is not kept.

    A full report replaces everything, any other what it names. In the lists of declarations an
    entry takes the place of its namesake, or takes it away with `_removed` (Apple: "StatusReport").
    """
    status = {} if report.is_full else dict(known)
    for name in (IS_PRESENT, IS_COMPLIANT, CAPABILITIES):
        if (value := _at(report.items, name)) is not None:
            status[name] = value
    if isinstance(lists := _at(report.items, DECLARATIONS), Mapping):
        before = status.get(DECLARATIONS, {})
        status[DECLARATIONS] = {
            name: _merged_list(before.get(name, []), lists.get(name))
            for name in (one.lower() for one in LISTS.values())
        }
    return status


def reported(status: Mapping[str, Any], kind: Kind, identifier: str) -> Reported | None:
    """What the device says of a declaration; None where it says nothing."""
    for entry in status.get(DECLARATIONS, {}).get(LISTS[kind].lower(), []):
        if entry["identifier"] == identifier:
            return Reported(
                server_token=entry["server-token"],
                active=entry["active"],
                validity=Validity(entry["valid"]),
                reasons=tuple(entry["reasons"]),
            )
    return None


def standing(wanted: Declaration, said: Reported | None) -> Standing:
    """Whether the declaration is in force: its present token, active and valid, and nothing less."""
    if said is None or said.server_token != wanted.server_token:
        return Standing.NOT_TOLD
    if said.active and said.validity is Validity.VALID:
        return Standing.IN_FORCE
    if said.validity is Validity.UNKNOWN:
        return Standing.NOT_TOLD
    return Standing.NOT_IN_FORCE


def facts(status: Mapping[str, Any], report: StatusReport) -> PasscodeFacts | None:
    """What a report adds on the passcode; None: nothing, or only half a word.

    Compliance must stand in this very report, since an earlier one may be older than the policy,
    and covers profiles, declarations and accounts. A presence that did not change is not said again.
    """
    now = merged({}, report)
    present, compliant = _flag(status, IS_PRESENT), _flag(now, IS_COMPLIANT)
    if compliant is None and _flag(now, IS_PRESENT) is not False:
        return None
    return PasscodeFacts(present=present, compliant=compliant, compliant_with_profiles=compliant)


def says_half(report: StatusReport) -> bool:
    """Whether it says that a passcode came, and not what it is worth: that has to be asked for."""
    now = merged({}, report)
    return _flag(now, IS_PRESENT) is True and _flag(now, IS_COMPLIANT) is None


def takes(status: Mapping[str, Any], kind: Kind, type_: str) -> bool:
    """Whether the device can do this, as far as it has told: silence is no refusal."""
    path = f"supported-payloads.declarations.{LISTS[kind].lower()}"
    known = _at(status.get(CAPABILITIES), path)
    return not isinstance(known, list) or type_ in known


def reports_by_itself(status: Mapping[str, Any]) -> bool:
    """Whether the device has told of its passcode without being asked."""
    return _flag(status, IS_COMPLIANT) is not None


def _declaration(
    kind: Kind, type_: str, identifier: str, payload: Mapping[str, Any], *, edition: str = ""
) -> Declaration:
    token = _digest([kind, type_, identifier, payload, edition])
    return Declaration(kind, type_, identifier, payload, token)


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _version(os_version: str) -> tuple[int, int]:
    """As numbers; what is no version is older than all."""
    parts = [part for part in os_version.split(".")[:2] if part.isascii() and part.isdigit()]
    numbers = [int(part[:4]) for part in parts] + [0, 0]
    return numbers[0], numbers[1]


def _merged_list(before: list[dict[str, Any]], changes: object) -> list[dict[str, Any]]:
    by_name = {one["identifier"]: one for one in before}
    for entry in _items(changes):
        name = entry.get("identifier")
        if not isinstance(name, str):
            continue
        by_name.pop(name, None)
        if entry.get("_removed") is not True:
            by_name[name] = _entry(name, entry)
    return list(by_name.values())[-MOST_ENTRIES:]


def _entry(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What we read of an entry; what is missing or strange is the less favourable."""
    token, validity = said.get("server-token"), said.get("valid")
    known = isinstance(validity, str) and validity in set(Validity)
    return {
        "identifier": name,
        "server-token": token if isinstance(token, str) else None,
        "active": said.get("active") is True,
        "valid": validity if known else Validity.UNKNOWN.value,
        "reasons": list(_reasons(said.get("reasons")))[:MOST_REASONS],
    }


def _at(items: object, path: str) -> object:
    """What stands at a name with dots; None where the device said nothing."""
    found = items
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _flag(status: Mapping[str, Any], name: str) -> bool | None:
    found = status.get(name)
    return found if isinstance(found, bool) else None


def _items(value: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _reasons(value: object) -> Iterator[str]:
    """In the device's words, or by its code."""
    for one in _items(value):
        words = one.get("description") or one.get("code")
        if isinstance(words, str):
            yield words[:LONGEST_REASON]
