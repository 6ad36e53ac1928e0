"""What counts as proof that the device is in hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules import codes
from passcodes.rules.possession import ACCEPTED, MEANS, WORTH, How, refusal, witness_refusal

NOW = datetime(2025, 11, 18, 14, 4, tzinfo=UTC)
SERIAL = "F17XX6J2MQ"
HELPDESK, COLLEAGUE, OWNER = 1, 2, 3
READ = codes.Proof(state=codes.State.PROVEN, of_this_device=True, by_who_asks=True, proven_at=NOW)

WORDS = "I have it in front of me, at the Altona shop."


def test_a_sentence_and_the_end_of_the_serial_count() -> None:
    assert refusal(How.WORD, words=WORDS, typed="J2MQ", serial="F17XX6J2MQ", now=NOW) is None


def test_case_and_blanks_do_not_matter() -> None:
    assert refusal(How.WORD, words=WORDS, typed=" j2mq ", serial="F17XX6J2MQ", now=NOW) is None


@pytest.mark.parametrize(
    ("words", "typed", "serial", "why"),
    [
        ("  ", "J2MQ", "F17XX6J2MQ", "Nobody has said"),
        ("x" * 501, "J2MQ", "F17XX6J2MQ", "too long"),
        (WORDS, "J2MX", "F17XX6J2MQ", "do not match"),
        (WORDS, "", "F17XX6J2MQ", "do not match"),
        (WORDS, "2MQ", "F17XX6J2MQ", "do not match"),
        (WORDS, "F17XX6J2MQ", "F17XX6J2MQ", "do not match"),
        (WORDS, "", None, "not known"),
        (WORDS, "", "", "not known"),
    ],
)
def test_anything_less_is_refused(words: str, typed: str, serial: str | None, why: str) -> None:
    refused = refusal(How.WORD, words=words, typed=typed, serial=serial, now=NOW)
    assert refused is not None
    assert why in refused
    assert "Next:" in refused


def test_all_that_is_missing_is_told_at_once() -> None:
    refused = refusal(How.WORD, words="", typed="", serial="F17XX6J2MQ", now=NOW)
    assert refused is not None
    assert refused.count("Next:") == 2


def test_a_code_that_was_read_counts_beside_the_sentence() -> None:
    assert refusal(How.CODE, words=WORDS, typed="", serial=SERIAL, now=NOW, code=READ) is None
    wordless = refusal(How.CODE, words=" ", typed="", serial=SERIAL, now=NOW, code=READ)
    assert wordless is not None
    assert "Nobody has said" in wordless


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (None, "No code was read"),
        (replace(READ, of_this_device=False), "off this device"),
        (replace(READ, by_who_asks=False), "to somebody else"),
        (replace(READ, state=codes.State.USED), "served a request already"),
        (replace(READ, state=codes.State.SHOWN), "right digits have not been typed"),
        (replace(READ, state=codes.State.DEAD), "right digits have not been typed"),
        (replace(READ, proven_at=None), "right digits have not been typed"),
        (replace(READ, proven_at=NOW - codes.PROOF_LASTS), "too long ago"),
    ],
)
def test_t27_no_other_code_counts(code: codes.Proof | None, why: str) -> None:
    refused = refusal(How.CODE, words=WORDS, typed="", serial=SERIAL, now=NOW, code=code)
    assert refused is not None
    assert why in refused
    assert "Next:" in refused


def test_a_code_counts_until_its_last_second() -> None:
    old = replace(READ, proven_at=NOW - codes.PROOF_LASTS + timedelta(seconds=1))
    assert refusal(How.CODE, words=WORDS, typed="", serial=SERIAL, now=NOW, code=old) is None


def test_who_asks_for_a_witness_types_no_serial() -> None:
    assert refusal(How.WITNESS, words=WORDS, typed="", serial=SERIAL, now=NOW) is None
    assert refusal(How.WITNESS, words=WORDS, typed="", serial=None, now=NOW) is not None


def witness(**facts: object) -> str | None:
    known: dict[str, object] = {
        "how": How.WITNESS,
        "witnessed_by": None,
        "by": COLLEAGUE,
        "requested_by": HELPDESK,
        "device_user": OWNER,
        "typed": "j2mq",
        "serial": SERIAL,
    }
    return witness_refusal(**{**known, **facts})  # type: ignore[arg-type]  # any wrong fact


def test_a_second_person_who_sees_it_is_a_witness() -> None:
    assert witness() is None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"by": HELPDESK}, "person who asked"),
        ({"by": OWNER}, "own user"),
        ({"typed": "XXXX"}, "do not match"),
        ({"typed": ""}, "do not match"),
        ({"serial": None, "typed": ""}, "not known"),
        ({"witnessed_by": 9}, "already"),
        ({"how": How.WORD}, "needs no witness"),
        ({"how": How.CODE}, "needs no witness"),
    ],
)
def test_nobody_else_is_one(facts: dict[str, object], why: str) -> None:
    refused = witness(**facts)
    assert refused is not None
    assert why in refused
    assert "Next:" in refused


def test_the_refusal_does_not_tell_the_serial() -> None:
    refused = refusal(How.WORD, words=WORDS, typed="XXXX", serial="F17XX6J2MQ", now=NOW)
    assert refused is not None
    assert "J2MQ" not in refused


def test_every_proof_can_be_explained() -> None:
    assert set(MEANS) == set(WORTH) == set(How)
    assert set(How) >= ACCEPTED
