"""A change of the charter: one thing, whole, and in words; what is none is refused."""

from typing import Any

import pytest

from passcodes.rules import charter_changes as changes
from passcodes.rules.charter import (
    Charter,
    Key,
    List,
    NotACharter,
    Person,
    Rule,
    written_key,
    written_rule,
)

NOW = 1_795_464_000


def key(name: str) -> Key:
    identity = name.encode().ljust(16, b"-")
    credential = bytes(16) + len(identity).to_bytes(2, "big") + identity + b"cose"
    return Key(credential, f"fingerprint of {name}", backup_eligible=False, counter=0, since=1)


KNOWN = Charter(
    version=7,
    people=(
        Person("approver", frozenset({"yes"}), (key("approver"),)),
        Person("keeper", frozenset({"keep"}), (key("keeper"), key("spare"))),
    ),
    lists=(("vans", List(frozenset({"F2LXQ1ABCD"}))),),
)
NEW = written_key(key("new"))


def in_words(change: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one.label: (one.before, one.after) for one in changes.differences(KNOWN, change)}


def test_a_pinned_passkey_counts_from_now_on() -> None:
    change = {"what": "pin", "person": "new", "roles": ["ask"], "key": NEW}
    after = changes.apply(KNOWN, change, now=NOW)
    made = after.person("new")
    assert made is not None
    assert (after.version, made.keys[0].since) == (8, NOW)
    assert made.roles == {"ask"}
    assert in_words(change)["Known to the vault"] == ("no", "yes")
    assert in_words(change)["Passkeys"] == ("", "fingerprint of new")


def test_a_recovered_passkey_stands_in_the_place_of_all_others() -> None:
    change = {"what": "recover", "person": "keeper", "key": NEW}
    after = changes.apply(KNOWN, change, now=NOW).person("keeper")
    assert after is not None
    assert [one.fingerprint for one in after.keys] == ["fingerprint of new"]
    assert after.roles == {"keep"}


def test_one_passkey_is_taken_out_or_the_whole_person() -> None:
    one = {"what": "revoke", "person": "keeper", "fingerprint": "fingerprint of spare"}
    after = changes.apply(KNOWN, one, now=NOW).person("keeper")
    assert after is not None
    assert len(after.keys) == 1
    assert (
        changes.apply(KNOWN, {"what": "revoke", "person": "keeper"}, now=NOW).person("keeper")
        is None
    )
    assert changes.needs_one(one)
    assert changes.title(one) == "Revoke a passkey of keeper"


def test_only_what_is_otherwise_is_told() -> None:
    rule = written_rule(Rule(approvers=2, glass=0))
    assert in_words({"what": "rule", "of": "default", "rule": rule}) == {
        "Signatures by others": ("1", "2")
    }


def test_a_list_says_what_is_added_and_taken_off() -> None:
    told = in_words({"what": "list", "name": "vans", "serials": ["F2LXQ9WXYZ"]})
    assert told["Added"] == ("", "F2LXQ9WXYZ")
    assert told["Taken off"] == ("F2LXQ1ABCD", "")


def test_it_touches_the_one_thing_that_it_is_about() -> None:
    change = {"what": "pin", "person": "approver", "roles": ["yes"], "key": NEW}
    other = changes.apply(KNOWN, {"what": "unlist", "name": "vans"}, now=NOW)
    assert changes.touches(other, change) == changes.touches(KNOWN, change)
    gone = changes.apply(KNOWN, {"what": "revoke", "person": "approver"}, now=NOW)
    assert changes.touches(gone, change) != changes.touches(KNOWN, change)


RULE = written_rule(Rule())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"what": "everything"},
        {"what": ["pin"]},
        {"what": "pin", "person": "new", "roles": ["ask"]},
        {"what": "pin", "person": "new", "roles": ["ask"], "key": NEW, "since": 1},
        {"what": "pin", "person": "new", "roles": ["boss"], "key": NEW},
        {"what": "pin", "person": "new", "roles": ["glass", "yes"], "key": NEW},
        {"what": "pin", "person": "approver", "roles": ["glass"], "key": NEW},
        {"what": "pin", "person": " ", "roles": ["ask"], "key": NEW},
        {"what": "pin", "person": "new", "roles": ["ask"], "key": "rubbish"},
        {"what": "pin", "person": "new", "roles": ["ask"], "key": written_key(key("keeper"))},
        {"what": "recover", "person": "nobody", "key": NEW},
        {"what": "revoke", "person": "nobody"},
        {"what": "revoke", "person": "keeper", "fingerprint": "fingerprint of approver"},
        {"what": "rule", "of": "default", "rule": {}},
        {"what": "rule", "of": "default", "rule": {**RULE, "approvers": 0}},
        {"what": "rule", "of": "default", "rule": {**RULE, "hours": {"start": 9, "end": 9}}},
        {"what": "rule", "of": "default", "rule": {**RULE, "bulk_max": 201}},
        {"what": "rule", "of": "default", "rule": {**RULE, "more": 1}},
        {"what": "list", "name": "all", "serials": []},
        {"what": "list", "name": "tills", "serials": "F2LXQ1ABCD"},
        {"what": "list", "name": "tills", "serials": [""]},
        {"what": "unlist", "name": "tills"},
    ],
)
def test_what_is_no_change_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotACharter):
        changes.apply(KNOWN, change, now=NOW)
