"""What a clear requires here now, in sentences: from the vault's charter, and from the rules of the product.

The charter's copy is read for display. What it says otherwise than the vault's own would be told on
every page; what the vault does, it does by its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from devices import inactivity
from passcodes import vault_says
from passcodes.rules import charter_changes as changes
from passcodes.rules import clearing, codes, possession
from passcodes.rules.charter import Charter, Rule
from passcodes.rules.possession import How

NUMBERS = ("no", "one", "two", "three", "four", "five")
SAID = ("approvers", "possession", "ask_lasts", "yes_lasts")  # each in a sentence of its own


def sentences() -> list[str]:
    return list(_of(vault_says.charter()))


def _of(charter: Charter) -> Iterator[str]:
    rule = charter.default
    others = (
        "one other person approves"
        if rule.approvers == 1
        else (f"{_number(rule.approvers)} others approve")
    )
    yield (
        f"Signatures of {_number(1 + rule.approvers)} people at least: one asks, with a reason and in "
        f"their own words, and {others}. Each signs with a passkey of their own, on the signing page, "
        "a statement that names each device by UDID, serial number and token. Passkeys for "
        "signing in never count."
    )
    yield _who(charter)
    yield (
        "Who asked, who approves, who has witnessed and the device’s own user are different people. "
        "A passkey that was pinned after the request does not count for it."
    )
    yield from _possession(rule)
    yield (
        f"What was asked counts for {_span(timedelta(seconds=rule.ask_lasts), clearing.REQUEST_LASTS)}, "
        f"an approval for {_span(timedelta(seconds=rule.yes_lasts), clearing.APPROVAL_LASTS)}. Each "
        "serves once; a no is for ever."
    )
    yield (
        "The device is enrolled, not lost, not in Lost Mode, and has been heard of within "
        f"{inactivity.days()} days."
    )
    yield (
        "Nothing that the people have seen has changed since: UDID, serial number, token, owner and, "
        "for who approved, system and lost mark. The vault verifies the signatures and asks all of "
        "this again, itself, before it opens."
    )
    yield "Beside that, by the vault’s own rule: " + "; ".join(_rest(rule)) + "."
    yield from _stricter(charter)
    yield (
        f"A device without a new passcode {_span(clearing.PROTECT_WITHIN)} after its clear counts "
        "as exposed."
    )


def _who(charter: Charter) -> str:
    if not charter.version:
        return "Nobody is pinned at the vault yet, so that nothing can be opened at all."
    may = {
        role: sum(role in one.roles and bool(one.keys) for one in charter.people)
        for role in changes.ROLES_IN_WORDS
    }
    keepers = "is 1 keeper" if may["keep"] == 1 else f"are {may['keep']} keepers"
    return (
        f"Only people who are pinned at the vault (charter, version {charter.version}): {may['ask']} may "
        f"ask, {may['yes']} may approve. Rows in the database and roles on the staff site change "
        f"nothing of it. There {keepers}; two of them sign each change, and it counts an hour later."
    )


def _possession(rule: Rule) -> Iterator[str]:
    accepted = [how for how in How if how in possession.ACCEPTED and how.value in rule.possession]
    kinds = [possession.MEANS[how].rstrip(".") for how in accepted]
    ways = "in this way" if len(kinds) == 1 else f"in one of {len(kinds)} ways"
    yield (
        f"The device is in our hands, shown {ways}: "
        + "; or ".join(kind[0].lower() + kind[1:] for kind in kinds)
        + "."
    )
    if How.CODE in accepted:
        yield (
            f"A code on the lock screen has {codes.DIGITS} digits, counts {_span(codes.LASTS)} and "
            f"allows {codes.TRIES} tries; {codes.MOST} codes a device in {_span(codes.WITHIN)}."
        )


def _rest(rule: Rule) -> Iterator[str]:
    """What has no sentence of its own, value by value."""
    said = {changes.RULE_IN_WORDS[name] for name in SAID}
    for label, value in changes.rule_in_words(rule):
        if label not in said:
            yield f"{label[0].lower()}{label[1:]}: {value}"


def _stricter(charter: Charter) -> Iterator[str]:
    reasons = [f"the reason «{name}»" for name, _ in charter.reasons]
    lists = [
        f"the list «{name}» ({len(one.serials)} devices)"
        for name, one in charter.lists
        if one.rule
    ]
    if reasons or lists:
        yield f"Other rules apply as well for {_joined([*reasons, *lists])}; the strictest value wins."


# Synced passkeys.


@dataclass(frozen=True, slots=True)
class Synced:
    """For which roles a passkey counts that its maker's cloud copies, and how many are pinned."""

    counts_for: str  # in words; empty: for none
    pinned: int
    of: int


def synced() -> Synced:
    charter = vault_says.charter()
    keys = [key for person in charter.people for key in person.keys]
    roles = [
        words for role, words in changes.ROLES_IN_WORDS.items() if role in charter.default.synced
    ]
    return Synced(
        counts_for=_joined(f"who {words}" for words in roles),
        pinned=sum(key.backup_eligible for key in keys),
        of=len(keys),
    )


def _joined(words: Iterable[str]) -> str:
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _span(*times: timedelta) -> str:
    """The shortest of them, in words."""
    minutes = int(min(times).total_seconds() // 60)
    if minutes % 60:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    hours = minutes // 60
    return "an hour" if hours == 1 else f"{hours} hours"
