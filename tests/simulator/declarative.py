"""Declarative management as a device does it: it fetches its set, puts it into effect, and reports.

    Declarations.sync(send, …)    # tokens → declaration-items → what is new → a status report
    Declarations.report(send, …)  # what has changed since the last report that was taken

`send` is `(endpoint, data) -> Response`. Predicates are ignored. A set whose token is the one of
last time is left alone, and nothing is said of it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.transport import Response

PASSCODE = "com.apple.configuration.passcode.settings"
SUBSCRIPTIONS = "com.apple.configuration.management.status-subscriptions"
ACTIVATION = "com.apple.activation.simple"
KINDS = {
    "Activations": "activation",
    "Configurations": "configuration",
    "Assets": "asset",
    "Management": "management",
}
LONGEST = {"Identifier": 64, "ServerToken": 64}
NUMBERS = {
    "MinimumLength": ("minLength", 0, 16),
    "MinimumComplexCharacters": ("minComplexChars", 0, 4),
    "MaximumFailedAttempts": ("maxFailedAttempts", 2, 11),
    "MaximumGracePeriodInMinutes": ("maxGracePeriod", 0, 10**6),
    "MaximumInactivityInMinutes": ("maxInactivity", 0, 15),
    "MaximumPasscodeAgeInDays": ("maxPINAgeInDays", 0, 730),
    "PasscodeReuseLimit": ("pinHistory", 1, 50),
}
FLAGS = {
    "RequirePasscode": "forcePIN",
    "RequireAlphanumericPasscode": "requireAlphanumeric",
    "RequireComplexPasscode": "allowSimple",
}
ON_A_MAC = ("FailedAttemptsResetInMinutes", "ChangeAtNextAuth")

Send = Callable[[str, bytes | None], Response]


class Nonsense(Exception):
    """The server's answer is none that a device could follow."""


@dataclass(slots=True)
class Declarations:
    """What a device holds, and what it has told of it."""

    token: str | None = None
    held: dict[str, dict[str, Any]] = field(default_factory=dict)  # "kind/identifier"
    cannot: list[str] = field(default_factory=list)  # types that this device refuses
    lost: list[str] = field(default_factory=list)  # identifiers that it holds and does not enforce
    told: dict[str, Any] = field(default_factory=dict)  # status items, as the server has them
    is_due: bool = False  # a sync did not come to its end

    def sync(self, send: Send, token: str | None = None) -> bool:
        """Fetch what has changed; False where the set is the one of last time."""
        self.is_due = True
        if token is None:
            token = str(_json(send("tokens", None))["SyncTokens"]["DeclarationsToken"])
        if token == self.token:
            self.is_due = False
            return False
        items = _json(send("declaration-items", None))
        found: dict[str, dict[str, Any]] = {}
        for name, kind in KINDS.items():
            for item in items["Declarations"][name]:
                key = f"{kind}/{item['Identifier']}"
                _fits(item)
                known = self.held.get(key)
                if known is None or known["ServerToken"] != item["ServerToken"]:
                    response = send(f"declaration/{key}", None)
                    if response.status == 404:
                        continue  # it went in between; the next sync tells
                    known = _json(response)
                    if known["Identifier"] != item["Identifier"]:
                        raise Nonsense("Another declaration than the one that was asked for.")
                found[key] = known
        self.held = found
        self.token = items["DeclarationsToken"]
        self.is_due = False
        return True

    def passcode_payloads(self) -> list[dict[str, Any]]:
        """The passcode settings in effect, in the words of the profile's payload."""
        return [
            _as_profile(one["Payload"])
            for one in self._active(PASSCODE)
            if one["Identifier"] not in self.lost and one["Payload"]
        ]

    @property
    def policies(self) -> list[str]:
        """The identifiers of the passcode settings in effect."""
        return [
            one["Identifier"]
            for one in self._active(PASSCODE)
            if one["Identifier"] not in self.lost
        ]

    @property
    def subscribed(self) -> set[str]:
        return {
            item["Name"]
            for one in self._active(SUBSCRIPTIONS)
            for item in one["Payload"]["StatusItems"]
        }

    def report(self, send: Send, items: Mapping[str, Any], *, full: bool = False) -> bool:
        """Say what has changed since the last time, or everything; whether there was a report.

        `items` is what this device can tell of its passcode.
        """
        now = {
            **{name: value for name, value in items.items() if name in self.subscribed},
            "management.declarations": self._standing(),
            "management.client-capabilities": {
                "supported-versions": ["1.0.0"],
                "supported-payloads": {
                    "declarations": {
                        "activations": [ACTIVATION],
                        "configurations": [
                            one for one in (PASSCODE, SUBSCRIPTIONS) if one not in self.cannot
                        ],
                        "assets": [],
                        "management": [],
                    },
                    "status-items": sorted(items),
                },
            },
        }
        says = {name: value for name, value in now.items() if full or self.told.get(name) != value}
        if not says:
            return False
        nested: dict[str, Any] = {}
        for name, value in says.items():
            first, _, rest = name.partition(".")
            nested.setdefault(first, {})[rest] = value
        body = {"StatusItems": nested, "Errors": [], **({"FullReport": True} if full else {})}
        if send("status", json.dumps(body).encode()).ok:
            self.told = now if full else {**self.told, **says}
        return True

    def to_state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Declarations":
        return cls(**{name: state[name] for name in STATE if name in state})

    def _active(self, type_: str) -> list[dict[str, Any]]:
        """Configurations that are valid and that some activation names."""
        named = {
            identifier
            for key, one in self.held.items()
            if key.startswith("activation/")
            for identifier in one["Payload"]["StandardConfigurations"]
        }
        return [
            one
            for key, one in self.held.items()
            if key.startswith("configuration/")
            and one["Type"] == type_
            and one["Identifier"] in named
            and self._fault(one) is None
        ]

    def _fault(self, one: Mapping[str, Any]) -> str | None:
        if one["Type"] not in {PASSCODE, SUBSCRIPTIONS} or one["Type"] in self.cannot:
            return "Error.UnknownDeclarationType"
        if one["Type"] == PASSCODE and not _is_understood(one["Payload"]):
            return "Error.InvalidPayload"
        return None

    def _standing(self) -> dict[str, list[dict[str, Any]]]:
        active = {
            one["Identifier"] for type_ in (PASSCODE, SUBSCRIPTIONS) for one in self._active(type_)
        }
        lists: dict[str, list[dict[str, Any]]] = {name.lower(): [] for name in KINDS}
        for name, kind in KINDS.items():
            for key, one in self.held.items():
                if key.startswith(f"{kind}/"):
                    fault = self._fault(one) if kind == "configuration" else None
                    is_on = kind == "activation" or (
                        one["Identifier"] in active and one["Identifier"] not in self.lost
                    )
                    lists[name.lower()].append(
                        {
                            "identifier": one["Identifier"],
                            "server-token": one["ServerToken"],
                            "active": is_on,
                            "valid": "invalid" if fault else "valid",
                            "reasons": [{"code": fault, "description": fault}] if fault else [],
                        }
                    )
        return lists


STATE = ("token", "held", "cannot", "lost", "told", "is_due")


def _json(response: Response) -> dict[str, Any]:
    if not response.ok:
        raise Nonsense(f"The server answered {response.status}.")
    kind = {name.lower(): value for name, value in response.headers.items()}.get(
        "content-type", ""
    )
    if not kind.startswith("application/json"):
        raise Nonsense(f"The answer is {kind}, not JSON.")
    content = json.loads(response.body)
    if not isinstance(content, dict):
        raise Nonsense("The answer is no object.")
    return content


def _fits(item: Mapping[str, Any]) -> None:
    for key, longest in LONGEST.items():
        if not 0 < len(item[key]) <= longest:
            raise Nonsense(f"A {key} of {len(item[key])} characters.")


def _is_understood(payload: Mapping[str, Any]) -> bool:
    for key, value in payload.items():
        if key in FLAGS:
            if not isinstance(value, bool):
                return False
        elif key in NUMBERS:
            _, low, high = NUMBERS[key]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                return False
        elif key not in ON_A_MAC:
            return False
    return True


def _as_profile(payload: Mapping[str, Any]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for key, value in payload.items():
        if key in FLAGS:
            words[FLAGS[key]] = not value if key == "RequireComplexPasscode" else value
        elif key in NUMBERS:
            words[NUMBERS[key][0]] = value
    return words
