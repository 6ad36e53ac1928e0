"""How the charter is changed, and the change in words: what two keepers sign is what comes into force.

One change is about one thing: a person with their passkeys, a rule, or a list of serial numbers. It says
how this thing stands afterwards. Taking a passkey or a person out needs one signature, all else two.
What the vault's console has stopped goes on by the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from passcodes.rules import charter as rules
from passcodes.rules import statements
from passcodes.rules.charter import (
    ALL,
    GLASS_ALONE,
    NO_GLASS,
    NOT_ITS_FORM,
    ROLES,
    Charter,
    Key,
    List,
    NotACharter,
    Person,
    Rule,
    read_key,
    read_rule,
)

DEFAULT = "default"
FEWEST_KEEPERS = 2  # one alone changes nothing
HAS_NOT_ITS_FORM = "The change has not its form."
FIELDS = {
    "pin": {"person", "roles", "key"},
    "recover": {"person", "key"},
    "person": {"person", "roles", "lists", "aliases", "mail"},
    "revoke": {"person", "fingerprint"},
    "rule": {"of", "rule"},
    "list": {"name", "serials", "rule"},
    "unlist": {"name"},
    "resume": {"of"},
}
MAY_BE_LEFT_OUT = {"revoke": {"fingerprint"}, "list": {"rule"}}
TITLES = {
    "pin": "Pin a passkey of {person}",
    "recover": "Pin a passkey of {person} in place of all earlier ones",
    "person": "Change what {person} may sign",
    "revoke": "Revoke a passkey of {person}",
    "revoke all": "Take {person} out of the charter",
    "default": "Change the rule for every clear",
    "rule": "Change the rule for the reason “{of}”",
    "list": "Change the list “{name}”",
    "unlist": "Remove the list “{name}”",
    "resume": "Let go on what the vault’s console has stopped: {of}",
}
ROLES_IN_WORDS = {
    "ask": "asks for clears",
    "yes": "agrees to clears",
    "keep": "keeps the charter",
    "glass": "agrees with the key from the safe",
}
RULE_IN_WORDS = {
    "approvers": "Signatures by others",
    "possession": "Proof that it is in our hands",
    "ask_lasts": "An ask counts for",
    "yes_lasts": "A yes counts for",
    "hold": "Held back after the last signature for",
    "hours": "Opens",
    "bulk_max": "Devices in one list, at most",
    "per_hour": "Clears an hour, at most",
    "notice": "People are told before it opens",
    "glass": "A key from the safe may agree",
    "synced": "Synced passkeys count for",
}
POSSESSION_IN_WORDS = {
    "code": "a code on its lock screen",
    "witness": "a second person sees it",
    "word": "the word of who asks",
}
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of what changes."""

    label: str
    before: str
    after: str


def apply(charter: Charter, change: Mapping[str, Any], *, now: int) -> Charter:
    """The next version of the charter, as it was signed; or NotACharter."""
    _check_form(change)
    try:
        changed = CHANGES[change["what"]](charter, change, now)
        raw = replace(changed, version=charter.version + 1).written()
    except NOT_ITS_FORM:
        raise NotACharter(HAS_NOT_ITS_FORM) from None
    except statements.NotCanonical:
        raise NotACharter("The charter cannot be written so, or would be too large.") from None
    return rules.read(raw)


def about(change: Mapping[str, Any]) -> str:
    """The person whom it is about; empty where it is about nobody."""
    return str(change.get("person", ""))


def needs_one(change: Mapping[str, Any]) -> bool:
    """Whether one signature is enough, and at once: whatever only takes away."""
    return change.get("what") == "revoke"


def takes_oneself_out(change: Mapping[str, Any], name: str) -> bool:
    """Whether this person takes out a passkey of their own, or themselves: that needs nobody's leave."""
    return needs_one(change) and about(change) == name


def is_at_once(change: Mapping[str, Any]) -> bool:
    """Whether it waits for nothing once it is signed. Who counts and the rules change after a delay."""
    return change.get("what") in {"revoke", "resume"}


def touches(charter: Charter, change: Mapping[str, Any]) -> object:
    """The thing that it is about, as it stands: who signed has seen it so."""
    match change.get("what"):
        case "pin" | "recover" | "person" | "revoke":
            return charter.person(about(change))
        case "rule":
            return _rule(charter, str(change["of"]))
        case _:
            return dict(charter.lists).get(str(change.get("name")))


def keepers(charter: Charter) -> list[str]:
    """Who can sign the next change."""
    return [one.name for one in charter.people if "keep" in one.roles and one.keys]


def leaves_too_few(charter: Charter, change: Mapping[str, Any]) -> bool:
    """Whether nobody could sign the next change after this one, though they can now."""
    if len(keepers(charter)) < FEWEST_KEEPERS:
        return False
    return len(keepers(apply(charter, change, now=0))) < FEWEST_KEEPERS


def title(change: Mapping[str, Any]) -> str:
    """The change in one line."""
    what = str(change.get("what"))
    if what == "revoke" and "fingerprint" not in change:
        what = "revoke all"
    if what == "rule" and change.get("of") == DEFAULT:
        what = "default"
    return TITLES[what].format_map(change)


def differences(charter: Charter, change: Mapping[str, Any]) -> list[Difference]:
    """What would be otherwise than in this charter, line by line; or NotACharter."""
    after = apply(charter, change, now=0)
    match change["what"]:
        case "pin" | "recover" | "person" | "revoke":
            name = about(change)
            rows = _of_person(charter.person(name), after.person(name))
        case "rule":
            of = str(change["of"])
            rows = _of_rule(_rule(charter, of), _rule(after, of))
        case "resume":
            rows = iter([("Opens", "nothing", "what is signed")])
        case _:
            name = str(change["name"])
            rows = _of_list(dict(charter.lists).get(name), dict(after.lists).get(name))
    return [Difference(*row) for row in rows if row[1] != row[2]]


def rule_in_words(rule: Rule) -> list[tuple[str, str]]:
    """Every value of a rule with its label."""
    return [(label, _value(name, getattr(rule, name))) for name, label in RULE_IN_WORDS.items()]


def roles_in_words(roles: Iterable[str]) -> str:
    return _joined(ROLES_IN_WORDS[role] for role in ROLES if role in set(roles)) or "signs nothing"


def lists_in_words(lists: Iterable[str]) -> str:
    return "every device" if ALL in lists else _joined(sorted(lists)) or "no device"


def _check_form(change: Mapping[str, Any]) -> None:
    what = change.get("what")
    if not isinstance(what, str) or what not in FIELDS:
        raise NotACharter("This change is not known.")
    given = set(change) - {"what"}
    if not FIELDS[what] - MAY_BE_LEFT_OUT.get(what, set()) <= given <= FIELDS[what]:
        raise NotACharter(HAS_NOT_ITS_FORM)


def _pin(charter: Charter, change: Mapping[str, Any], now: int) -> Charter:
    made, name = replace(_new_key(charter, change["key"]), since=now), _name(change["person"])
    known = charter.person(name)
    roles = _roles([*change["roles"], *(known.roles if known else ())])
    return charter.pinned(name, roles, made)


def _recover(charter: Charter, change: Mapping[str, Any], now: int) -> Charter:
    made = replace(_new_key(charter, change["key"]), since=now)
    return charter.with_person(replace(_known(charter, change["person"]), keys=(made,)))


def _change_person(charter: Charter, change: Mapping[str, Any], _now: int) -> Charter:
    known, lists, aliases = _known(charter, change["person"]), change["lists"], change["aliases"]
    if not all(isinstance(one, str) for one in (*lists, *aliases, change["mail"])):
        raise NotACharter(HAS_NOT_ITS_FORM)
    made = replace(known, roles=_roles(change["roles"]), lists=frozenset(lists))
    return charter.with_person(replace(made, aliases=frozenset(aliases), mail=change["mail"]))


def _revoke(charter: Charter, change: Mapping[str, Any], _now: int) -> Charter:
    known, fingerprint = _known(charter, change["person"]), change.get("fingerprint")
    if fingerprint is None:
        others = tuple(one for one in charter.people if one.name != known.name)
        return replace(charter, people=others)
    left = tuple(key for key in known.keys if key.fingerprint != fingerprint)
    if len(left) == len(known.keys):
        raise NotACharter("This passkey is not pinned for this person.")
    return charter.with_person(replace(known, keys=left))


def _change_rule(charter: Charter, change: Mapping[str, Any], _now: int) -> Charter:
    of, rule = _name(change["of"]), change["rule"]
    if set(rule) != set(RULE_IN_WORDS):
        raise NotACharter("A rule is written whole, with each of its values.")
    if of == DEFAULT:
        return replace(charter, default=read_rule(rule, NO_GLASS))
    others = [one for one in charter.reasons if one[0] != of]
    return replace(charter, reasons=(*others, (of, read_rule(rule, Rule()))))


def _change_list(charter: Charter, change: Mapping[str, Any], _now: int) -> Charter:
    name, serials = _name(change["name"]), change["serials"]
    if type(serials) is not list or not all(isinstance(one, str) and one for one in serials):
        raise NotACharter(HAS_NOT_ITS_FORM)
    rule = change.get("rule")
    if rule is not None and set(rule) != set(RULE_IN_WORDS):
        raise NotACharter("A rule is written whole, with each of its values.")
    made = List(frozenset(serials), None if rule is None else read_rule(rule, Rule()))
    others = [one for one in charter.lists if one[0] != name]
    return replace(charter, lists=(*others, (name, made)))


def _remove_list(charter: Charter, change: Mapping[str, Any], _now: int) -> Charter:
    name = _name(change["name"])
    others = tuple(one for one in charter.lists if one[0] != name)
    if len(others) == len(charter.lists):
        raise NotACharter(f"There is no list “{name}”.")
    if any(name in one.lists for one in charter.people):
        raise NotACharter("Somebody is kept to this list. Next: change what they may sign.")
    return replace(charter, lists=others)


def _same(charter: Charter, _change: Mapping[str, Any], _now: int) -> Charter:
    """What two keepers let go on stands in the journal, and not in the charter."""
    return charter


CHANGES: dict[str, Callable[[Charter, Mapping[str, Any], int], Charter]] = {
    "pin": _pin,
    "recover": _recover,
    "person": _change_person,
    "revoke": _revoke,
    "rule": _change_rule,
    "list": _change_list,
    "unlist": _remove_list,
    "resume": _same,
}


def _roles(roles: Iterable[Any]) -> frozenset[str]:
    given = frozenset(roles)
    if not given <= set(ROLES):
        raise NotACharter("A role is not known.")
    if "glass" in given and len(given) > 1:
        raise NotACharter(GLASS_ALONE)
    return given


def _known(charter: Charter, name: str) -> Person:
    known = charter.person(name)
    if known is None:
        raise NotACharter(f"{name} is not pinned.")
    return known


def _new_key(charter: Charter, said: Mapping[str, Any]) -> Key:
    key = read_key(said)
    if charter.holder(key.id):
        raise NotACharter("This passkey is pinned already.")
    return key


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or name == ALL:
        raise NotACharter(HAS_NOT_ITS_FORM)
    return name


def _rule(charter: Charter, of: str) -> Rule | None:
    return charter.default if of == DEFAULT else dict(charter.reasons).get(of)


# In words.

Rows = Iterator[tuple[str, str, str]]


def _of_person(before: Person | None, after: Person | None) -> Rows:
    was, will = _person_in_words(before), _person_in_words(after)
    for label, words in was.items():
        yield label, words, will[label]


def _person_in_words(one: Person | None) -> dict[str, str]:
    known = one or Person("", frozenset(), lists=frozenset())
    return {
        "Known to the vault": "yes" if one else "no",
        "May sign": roles_in_words(known.roles) if one else "",
        "For": lists_in_words(known.lists) if one else "",
        "Passkeys": _keys(known.keys) if one else "",
        "Also called": _joined(sorted(known.aliases)),
        "Mail": known.mail,
    }


def _of_rule(before: Rule | None, after: Rule | None) -> Rows:
    was = dict(rule_in_words(before)) if before else {}
    will = dict(rule_in_words(after)) if after else {}
    for label in RULE_IN_WORDS.values():
        yield label, was.get(label, ""), will.get(label, "")


def _of_list(before: List | None, after: List | None) -> Rows:
    was, will = ((one.serials if one else frozenset()) for one in (before, after))
    yield "Serial numbers", f"{len(was)}", f"{len(will)}"
    yield "Added", "", _joined(sorted(will - was))
    yield "Taken off", _joined(sorted(was - will)), ""
    yield from _of_rule(before.rule if before else None, after.rule if after else None)


def _keys(keys: Iterable[Key]) -> str:
    words = (f"{key.fingerprint}{' (synced)' if key.backup_eligible else ''}" for key in keys)
    return _joined(words) or "none"


def _value(name: str, value: Any) -> str:
    match name:
        case "possession":
            return _joined(POSSESSION_IN_WORDS[how] for how in POSSESSION_IN_WORDS if how in value)
        case "synced":
            return _joined(ROLES_IN_WORDS[role] for role in ROLES if role in value) or "nobody"
        case "hours":
            return "at any hour" if value == (0, rules.DAY) else f"{value[0]}:00 to {value[1]}:00"
        case "glass" | "notice":
            return "yes" if value else "no"
        case "ask_lasts" | "yes_lasts" | "hold":
            return _span(value)
        case _:
            return str(value)


def _span(seconds: int) -> str:
    for length, name in ((HOUR, "hour"), (MINUTE, "minute")):
        if seconds and seconds % length == 0:
            count = seconds // length
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds" if seconds else "no time"


def _joined(words: Iterable[str]) -> str:
    return ", ".join(words)
