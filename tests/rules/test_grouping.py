"""What makes a rule of a group, and how it reads."""

import pytest

from devices.rules.grouping import (
    KINDS,
    MOST,
    Fact,
    How,
    Refused,
    check,
    from_json,
    in_words,
    parts,
    read,
)

RETAIL = read("tag", "begins", "RETAIL-")


def said(*lines: tuple[str, str, str]) -> str:
    return in_words([read(*line) for line in lines])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([("platform", "is", "iPhone")], "iPhones"),
        (
            [
                ("platform", "is", "ios"),
                ("version", "at_least", "17"),
                ("tag", "begins", "RETAIL-"),
            ],
            "iPhones with iOS 17 or later and whose asset tag begins with RETAIL-",
        ),
        (
            [("version", "below", "17.4"), ("platform", "is", "phones")],
            "iPhones and iPads with system below 17.4",
        ),
        (
            [("user", "contains", "north"), ("supervised", "is", "yes"), ("model", "is", "Mac")],
            "Devices whose user contains north, that are supervised and whose model is Mac",
        ),
        ([("platform", "is_not", "Mac")], "Devices other than Macs"),
        (
            [("platform", "is", "Mac"), ("platform", "is", "iPad")],
            "Macs that are iPads as well",
        ),
        (
            [("enrollment", "is", "user"), ("supervised", "is", "no")],
            "Devices that belong to their users (User Enrollment) and that are not supervised",
        ),
        ([("platform", "is", "mac"), ("version", "is", "14")], "Macs with macOS 14"),
    ],
)
def test_a_rule_reads_as_a_phrase(lines: list[tuple[str, str, str]], words: str) -> None:
    assert said(*lines) == words


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("colour", "is", "red"), "Choose what is compared"),
        (("tag", "like", "red"), "Choose what is compared"),
        (("tag", "below", "T"), "cannot be compared by “is below”"),
        (("version", "contains", "17"), "cannot be compared by “contains”"),
        (("tag", "is", "  "), "Give a value"),
        (("tag", "is", "x" * 101), "100 characters at most"),
        (("tag", "is", "a\0b"), "at most"),
        (("version", "is", "seventeen"), "no version"),
        (("version", "is", "17."), "no version"),
        (("version", "is", "1.2.3.4.5"), "no version"),
        (("version", "is", "١٧"), "no version"),
        (("platform", "is", "fridge"), "none of “iPhone”"),
        (("supervised", "is", "perhaps"), "none of “yes”, “no”"),
    ],
)
def test_what_says_nothing_is_refused(line: tuple[str, str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        read(*line)


def test_a_choice_may_be_written_as_it_is_called() -> None:
    assert read("platform", "is", " IPHONE ").value == "ios"
    assert read("platform", "is", "iphone or ipad").value == "phones"
    assert read("supervised", "is", "YES").value == "yes"


def test_a_rule_has_one_condition_at_least_and_not_too_many() -> None:
    with pytest.raises(Refused, match="at least one"):
        check([])
    with pytest.raises(Refused, match="at most"):
        check([RETAIL] * (MOST + 1))
    check([RETAIL] * MOST)


def test_what_is_kept_is_read_again_as_it_was() -> None:
    rule = (RETAIL, read("version", "at_least", "17.4"))
    assert from_json([one.to_json() for one in rule]) == rule


@pytest.mark.parametrize("row", [None, {}, "all", [1], [{"fact": "tag"}], []])
def test_a_row_that_is_no_rule_is_refused(row: object) -> None:
    with pytest.raises(Refused):
        from_json(row)


@pytest.mark.parametrize("fact", Fact)
@pytest.mark.parametrize("how", How)
def test_every_fact_says_how_it_may_be_compared(fact: Fact, how: How) -> None:
    kind = KINDS[fact]
    value = next(iter(kind.choices)) if kind.choices else "17"
    if how in kind.tests:
        assert in_words([read(fact, how, value)])
    else:
        with pytest.raises(Refused, match="cannot be compared"):
            read(fact, how, value)


def test_the_parts_of_a_version_are_numbers() -> None:
    assert parts("17.4.1") == (17, 4, 1)
