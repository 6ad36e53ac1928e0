"""Who counts at the vault, and the rules that hold there. Of all rules that apply the strictest wins.

People are pinned with their passkeys and what they may say: ask, yes, keep (change this charter),
glass (a yes from the safe). Rules stand as a default, for a reason, and for lists of serial numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from passcodes.rules import statements

ROLES = ("ask", "yes", "keep", "glass")
ALL = "all"
CHUNK = 200  # characters; longer texts are no canonical ones
WEEK, HOUR = 7 * 24 * 3600, 3600
HIGHEST_BULK = 200
ALGORITHMS = frozenset({-7, -8, -257})
DAY = 24
AT_MOST = {"ask_lasts": WEEK, "yes_lasts": HOUR, "bulk_max": HIGHEST_BULK}
AT_LEAST = {"approvers": 1, "bulk_max": 1, "per_hour": 1}
STRICTER_IS_MORE = ("approvers", "hold", "notice")
STRICTER_IS_LESS = ("ask_lasts", "yes_lasts", "bulk_max", "per_hour", "glass")
SETS = {"possession": frozenset({"code", "witness", "word"}), "synced": frozenset(ROLES)}

GLASS_ALONE = "The key from the safe is a person of its own, without any other role."
NOT_ITS_FORM = (AttributeError, KeyError, TypeError, ValueError)  # a list for an object, and so on


class NotACharter(Exception):
    """The document cannot be the charter; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """One pinned passkey."""

    credential: bytes  # as WebAuthn attests it: authenticator, id, public key
    fingerprint: str
    backup_eligible: bool
    counter: int
    since: int

    @property
    def id(self) -> bytes:
        length = int.from_bytes(self.credential[16:18], "big")
        return self.credential[18 : 18 + length]


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    roles: frozenset[str]
    keys: tuple[Key, ...] = ()
    lists: frozenset[str] = frozenset({ALL})
    aliases: frozenset[str] = frozenset()
    mail: str = ""

    def is_called(self, name: str) -> bool:
        """Whether a device's user of this name is this person."""
        called = name.strip().casefold()
        return bool(called) and called in {
            one.strip().casefold() for one in (self.name, self.mail, *self.aliases)
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """What a clear requires. The values of a rule that says nothing."""

    approvers: int = 1
    possession: frozenset[str] = SETS["possession"]
    ask_lasts: int = 4 * HOUR
    yes_lasts: int = HOUR // 2
    hold: int = 0  # seconds between the last signature and the opening
    hours: tuple[int, int] = (0, DAY)
    bulk_max: int = 1
    per_hour: int = 60
    notice: int = 0
    glass: int = 1
    synced: frozenset[str] = frozenset({"ask", "yes"})  # roles that a synced passkey may fill

    def strictest(self, other: "Rule") -> "Rule":
        more = {name: max(getattr(self, name), getattr(other, name)) for name in STRICTER_IS_MORE}
        less = {name: min(getattr(self, name), getattr(other, name)) for name in STRICTER_IS_LESS}
        both = {name: getattr(self, name) & getattr(other, name) for name in SETS}
        hours = (max(self.hours[0], other.hours[0]), min(self.hours[1], other.hours[1]))
        return Rule(**more, **less, **both, hours=hours)

    def is_open_at(self, hour: int) -> bool:
        return self.hours[0] <= hour < self.hours[1]


@dataclass(frozen=True, slots=True)
class List:
    """Serial numbers that a stricter rule is for."""

    serials: frozenset[str]
    rule: Rule | None = None


NO_GLASS = Rule(glass=0)


@dataclass(frozen=True, slots=True)
class Charter:
    version: int = 0
    people: tuple[Person, ...] = ()
    default: Rule = NO_GLASS
    reasons: tuple[tuple[str, Rule], ...] = ()
    lists: tuple[tuple[str, List], ...] = ()

    def fingerprints(self) -> set[str]:
        """Of every passkey that is pinned."""
        return {key.fingerprint for person in self.people for key in person.keys}

    def person(self, name: str) -> Person | None:
        return next((one for one in self.people if one.name == name), None)

    def holder(self, credential_id: bytes) -> tuple[Person, Key] | None:
        """Whose passkey this is."""
        return next(
            (
                (person, key)
                for person in self.people
                for key in person.keys
                if key.id == credential_id
            ),
            None,
        )

    def lists_of(self, serials: Iterable[str]) -> list[tuple[str, List]]:
        wanted = set(serials)
        return [(name, one) for name, one in self.lists if one.serials & wanted]

    def rule(self, *, reason: str, serials: Iterable[str]) -> Rule:
        """All that apply together."""
        applying = [rule for name, rule in self.reasons if name == reason]
        applying += [one.rule for _, one in self.lists_of(serials) if one.rule]
        strict = self.default
        for rule in applying:
            strict = strict.strictest(rule)
        return strict

    def may_sign_for(self, person: Person, serials: Iterable[str]) -> bool:
        """Who is kept to lists may sign for the devices of these lists alone."""
        if ALL in person.lists:
            return True
        allowed: set[str] = set()
        for name, one in self.lists:
            if name in person.lists:
                allowed |= one.serials
        return set(serials) <= allowed

    # What changes it.

    def pinned(self, name: str, roles: Iterable[str], key: Key, **about: Any) -> "Charter":
        """One more passkey, of a person who may be new."""
        known = self.person(name) or Person(name, frozenset())
        given = replace(
            known, roles=known.roles | frozenset(roles), keys=(*known.keys, key), **about
        )
        return self.with_person(given)

    def revoked(self, fingerprint: str) -> "Charter":
        """Without this passkey."""
        people = tuple(
            replace(one, keys=tuple(key for key in one.keys if key.fingerprint != fingerprint))
            for one in self.people
        )
        return replace(self, version=self.version + 1, people=people)

    def with_person(self, person: Person) -> "Charter":
        """As this person stands now, and not as before."""
        others = [one for one in self.people if one.name != person.name]
        people = tuple(sorted([*others, person], key=lambda one: one.name))
        return replace(self, version=self.version + 1, people=people)

    def written(self) -> bytes:
        return statements.encode(
            {
                "lists": [
                    {
                        "name": name,
                        "serials": sorted(one.serials),
                        **({"rule": written_rule(one.rule)} if one.rule else {}),
                    }
                    for name, one in self.lists
                ],
                "people": [_written_person(one) for one in self.people],
                "rules": {
                    "default": written_rule(self.default),
                    "reasons": [
                        {"name": name, "rule": written_rule(rule)} for name, rule in self.reasons
                    ],
                },
                "v": 1,
                "version": self.version,
            }
        )


def read(raw: bytes) -> Charter:
    """The charter in these bytes, or NotACharter."""
    try:
        said = statements.decode(raw)
        charter = Charter(
            version=_version(said["version"]),
            people=tuple(_read_person(one) for one in said["people"]),
            default=read_rule(said["rules"]["default"], NO_GLASS),
            reasons=tuple(
                (_text(one["name"]), read_rule(one["rule"], Rule()))
                for one in said["rules"]["reasons"]
            ),
            lists=tuple(
                (
                    _text(one["name"]),
                    List(
                        _texts(one["serials"]),
                        read_rule(one["rule"], Rule()) if "rule" in one else None,
                    ),
                )
                for one in said["lists"]
            ),
        )
    except (*NOT_ITS_FORM, statements.NotCanonical):
        raise NotACharter("The charter cannot be read.") from None
    names = [person.name for person in charter.people]
    ids = [key.id for person in charter.people for key in person.keys]
    if len(set(names)) != len(names) or len(set(ids)) != len(ids):
        raise NotACharter("A person or a passkey stands twice in the charter.")
    return charter


def read_rule(said: Mapping[str, Any], otherwise: Rule) -> Rule:
    """A rule as a document has it; what it does not say is as in `otherwise`."""
    facts: dict[str, Any] = {}
    for name, value in said.items():
        if name in SETS:
            facts[name] = _texts(value)
            if not facts[name] <= SETS[name]:
                raise NotACharter(f"{name} has an unknown value.")
        elif name == "hours":
            start, end = int(value["start"]), int(value["end"])
            facts[name] = (start, end)
            if not 0 <= start < end <= DAY:
                raise NotACharter("hours are no part of a day.")
        elif name in {*STRICTER_IS_MORE, *STRICTER_IS_LESS}:
            facts[name] = int(value)
            if facts[name] < AT_LEAST.get(name, 0):
                raise NotACharter(f"{name} is too small.")
            if name in AT_MOST and facts[name] > AT_MOST[name]:
                raise NotACharter(f"{name} is too large.")
        else:
            raise NotACharter(f"A rule knows no {name}.")
    return replace(otherwise, **facts)


def read_key(said: Mapping[str, Any]) -> Key:
    key = Key(
        credential=bytes.fromhex("".join(said["credential"])),
        fingerprint=str(said["fingerprint"]),
        backup_eligible=bool(said["be"]),
        counter=int(said["counter"]),
        since=int(said.get("since", 0)),
    )
    if not key.id:
        raise NotACharter("A passkey has no id.")
    return key


def written_key(key: Key) -> dict[str, Any]:
    text = key.credential.hex()
    return {
        "be": int(key.backup_eligible),
        "counter": key.counter,
        "credential": [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)],
        "fingerprint": key.fingerprint,
        "since": key.since,
    }


def _read_person(said: Mapping[str, Any]) -> Person:
    roles = _texts(said["roles"])
    if not roles <= set(ROLES):
        raise NotACharter("A role is not known.")
    if "glass" in roles and len(roles) > 1:
        raise NotACharter(GLASS_ALONE)
    return Person(
        name=_text(said["name"]),
        roles=roles,
        keys=tuple(read_key(one) for one in said["keys"]),
        lists=_texts(said["lists"]),
        aliases=_texts(said["aliases"]),
        mail=_text(said["mail"]),
    )


def _text(said: object) -> str:
    if not isinstance(said, str):
        raise TypeError
    return said


def _texts(said: object) -> frozenset[str]:
    if not isinstance(said, list):
        raise TypeError
    return frozenset(_text(one) for one in said)


def _version(said: object) -> int:
    if not isinstance(said, int):
        raise TypeError
    return said


def _written_person(person: Person) -> dict[str, Any]:
    return {
        "aliases": sorted(person.aliases),
        "keys": [written_key(key) for key in person.keys],
        "lists": sorted(person.lists),
        "mail": person.mail,
        "name": person.name,
        "roles": sorted(person.roles),
    }


def written_rule(rule: Rule) -> dict[str, Any]:
    numbers = {name: getattr(rule, name) for name in (*STRICTER_IS_MORE, *STRICTER_IS_LESS)}
    sets = {name: sorted(getattr(rule, name)) for name in SETS}
    return {**numbers, **sets, "hours": {"end": rule.hours[1], "start": rule.hours[0]}}
