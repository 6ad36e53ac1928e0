"""How many devices one pair of signatures may clear, and on what proof.

A list is read by people, so it has an end; and no list rests on one person's word, unless the rule
that is pinned at the vault says so.
"""

from collections.abc import Iterator, Sequence

from passcodes.rules.charter import HIGHEST_BULK, Rule
from passcodes.rules.possession import OF_SEVERAL, SERIAL_END, How

MEANS = {
    How.WITNESS: "A second person sees the devices, and has read the serial number of each.",
    How.WORD: "The requester says who holds the devices, and has read the serial number of each.",
    How.CODE: "The requester read the codes that the devices showed on their lock screens.",
}
NAMED = 10  # of those that are missing


def refusals(devices: int, *, how: str, rule: Rule) -> Iterator[str]:
    """What forbids a list of so many devices that can be cleared, with this proof."""
    if not devices:
        yield "None of these devices can be cleared now. Next: read why, beside each."
    most = most_devices(rule)
    if most == 1:
        yield "The rule allows no clear of several devices. Next: ask device by device."
    elif devices > most:
        yield (
            f"These are {devices} devices; the rule allows {most} in one request. "
            f"Next: leave {devices - most} out, and ask for them in another one."
        )
    if how not in hows(rule):
        yield (
            "The rule asks for a stronger proof that the devices are in our hands. "
            + ("Next: choose another proof." if hows(rule) else "Next: ask device by device.")
        )


def most_devices(rule: Rule) -> int:
    return min(rule.bulk_max, HIGHEST_BULK)


def hows(rule: Rule) -> tuple[How, ...]:
    """The proofs that a list can rest on under this rule, the strongest first."""
    return tuple(how for how in OF_SEVERAL if how in rule.possession)


def not_read(missing: Sequence[str]) -> str:
    """Which devices of a list nobody has read the serial number of."""
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return (
        f"Nobody has read these off the devices: {', '.join(missing[:NAMED])}{more}. "
        f"Next: type or scan each serial number, or its last {SERIAL_END} characters."
    )
