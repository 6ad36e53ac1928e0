"""What counts as proof that the device is in hand."""

import pytest

from passcodes.rules.possession import ACCEPTED, MEANS, How, refusal

WORDS = "I have it in front of me, at the Altona shop."


def test_a_sentence_and_the_end_of_the_serial_count() -> None:
    assert refusal(How.WORD, words=WORDS, typed="J2MQ", serial="F17XX6J2MQ") is None


def test_case_and_blanks_do_not_matter() -> None:
    assert refusal(How.WORD, words=WORDS, typed=" j2mq ", serial="F17XX6J2MQ") is None


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
    refused = refusal(How.WORD, words=words, typed=typed, serial=serial)
    assert refused is not None
    assert why in refused
    assert "Next:" in refused


def test_all_that_is_missing_is_told_at_once() -> None:
    refused = refusal(How.WORD, words="", typed="", serial="F17XX6J2MQ")
    assert refused is not None
    assert refused.count("Next:") == 2


@pytest.mark.parametrize("how", sorted(set(How) - ACCEPTED))
def test_a_proof_that_nobody_checks_is_refused(how: How) -> None:
    refused = refusal(how, words=WORDS, typed="J2MQ", serial="F17XX6J2MQ")
    assert refused is not None
    assert "not accepted" in refused


def test_the_refusal_does_not_tell_the_serial() -> None:
    refused = refusal(How.WORD, words=WORDS, typed="XXXX", serial="F17XX6J2MQ")
    assert refused is not None
    assert "J2MQ" not in refused


def test_every_proof_can_be_explained() -> None:
    assert set(MEANS) == set(How)
