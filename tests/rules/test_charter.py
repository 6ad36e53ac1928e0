"""A document is the charter, or a change of it, or it is refused; whatever stands where in it."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules import charter_changes, statements
from passcodes.rules.charter import Charter, List, NotACharter, Person, Rule, read, written_rule
from tests.strange import otherwise, places

CHARTER = Charter(
    3,
    (
        Person(
            "helpdesk", frozenset({"ask"}), aliases=frozenset({"desk"}), mail="desk@example.org"
        ),
    ),
    reasons=(("leaver", Rule(approvers=2)),),
    lists=(("board", List(frozenset({"C39"}), Rule(hold=60))),),
)
RULE = written_rule(Rule())
CHANGES: list[dict[str, Any]] = [
    {"what": "rule", "of": "leaver", "rule": RULE},
    {"what": "list", "name": "board", "serials": ["C40"], "rule": RULE},
    {"what": "unlist", "name": "board"},
    {"what": "revoke", "person": "helpdesk"},
    {
        "what": "person",
        "person": "helpdesk",
        "roles": ["ask", "yes"],
        "lists": ["all"],
        "aliases": [],
        "mail": "",
    },
]
ODD: list[Any] = ["", "x", 7, [], [1], ["x", 1], [["x"]], {}, {"x": 1}, [{"x": "y"}]]
odd = st.sampled_from(ODD)


def test_a_charter_is_read_as_it_was_written() -> None:
    assert read(CHARTER.written()) == CHARTER


@given(st.data())
def test_a_charter_with_something_else_in_a_place_is_read_or_refused(data: st.DataObject) -> None:
    document = statements.decode(CHARTER.written())
    path = data.draw(st.sampled_from(list(places(document))))
    changed = otherwise(document, path, data.draw(odd))
    raw = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
    with suppress(NotACharter):
        found = read(raw)
        assert read(found.written()) == found


@given(st.data())
def test_a_change_with_something_else_in_a_place_is_made_or_refused(data: st.DataObject) -> None:
    """One that raised anything else would keep the vault from hearing whatever comes after it."""
    change = data.draw(st.sampled_from(CHANGES))
    changed = otherwise(change, data.draw(st.sampled_from(list(places(change)))), data.draw(odd))
    with suppress(NotACharter):
        after = charter_changes.apply(CHARTER, changed, now=1)
        assert read(after.written()) == after


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'{"lists":[],"people":[],"rules":[],"v":1,"version":1}',
        b'{"lists":[],"people":["x"],"rules":{"default":{},"reasons":[]},"v":1,"version":1}',
        b'{"lists":[],"people":[],"rules":{"default":[],"reasons":[]},"v":1,"version":1}',
        b'{"lists":[],"people":[],"rules":{"default":{},"reasons":[]},"v":1,"version":"1"}',
        CHARTER.written().replace(b'["C39"]', b'["C39",1]'),
    ],
)
def test_what_has_not_the_form_of_a_charter_is_refused(raw: bytes) -> None:
    with pytest.raises(NotACharter, match="cannot be read"):
        read(raw)


def test_a_change_that_would_make_the_charter_too_large_is_refused() -> None:
    serials = [f"{number}-" + "x" * 180 for number in range(200)]
    first, second = (
        {"what": "list", "name": name, "serials": serials} for name in ("first", "second")
    )
    full = charter_changes.apply(CHARTER, first, now=1)
    with pytest.raises(NotACharter, match="too large"):
        charter_changes.apply(full, second, now=1)
