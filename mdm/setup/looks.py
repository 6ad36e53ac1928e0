"""Does the house stand? Each thing is tried for real, and the first that does not work says what is next."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdm.setup import answering, environments
from mdm.setup.answers import APART, House
from mdm.setup.machine import Failed, Machine
from passcodes.rules.charter_changes import FEWEST_KEEPERS


@dataclass(frozen=True, slots=True)
class Look:
    what: str
    works: bool
    words: str


def processes(house: House, machine: Machine) -> Iterator[Look]:
    """What each process reaches with its own environment, under its own user."""
    for process in environments.processes(house):
        try:
            said = machine.manage(process, "reach", "--well")
        except Failed as reason:
            yield Look(process, works=False, words=str(reason).splitlines()[-1])
            continue
        for line in said.splitlines():
            one = json.loads(line)
            if one["what"] != "house":
                yield Look(f"{process}: {one['what']}", one["works"], one["words"])


def addresses(house: House, *, through: str = "") -> Iterator[Look]:
    """Whether the three names answer over TLS as devices and browsers reach them."""
    yield _page("the staff site", house, f"{house.staff_url}/accounts/login/", through)
    yield _page("the door, check-in", house, f"{house.door_url}/mdm/checkin", through)
    yield _page("the door, commands", house, f"{house.door_url}/mdm/connect", through)
    yield _page("the signing page", house, f"{house.sign_url}/", through, is_signing=True)


def people(house: House, facts: dict[str, Any]) -> Iterator[Look]:
    """The vault's pulse, who has come, who is pinned."""
    silent = facts["vault_silent"]
    yield Look("the vault's pulse", not silent, silent or "heard just now")
    missing = [name for name in house.people if not facts["people"].get(name)]
    words = (
        f"Not come yet: {', '.join(missing)}. Next: each opens the link (setup prints it again)."
    )
    yield Look("first people", not missing, words if missing else "all have chosen a password")
    registered = {key["name"] for key in facts["keys"]}
    without = [name for name in house.pinned_roles if name not in registered]
    words = f"No passkey of {', '.join(without)}. Next: each registers one under «My signing passkeys»."
    yield Look("signing passkeys", not without, words if without else "everybody has one")
    yield _charter(facts)


def promise(house: House) -> str:
    """Which form of the promise holds here, in words for who sets it up."""
    doors = (
        "Check-in and connect are two processes."
        if house.doors == APART
        else "One process is both doors."
    )
    pins = (
        "New enrollments pin the door's TLS."
        if house.tls_authority
        else "Enrollments do not pin the door's TLS (--tls-authority)."
    )
    return (
        f"{doors} {pins} Everything is on one machine: its root is everything. "
        "docs/operations.md says what the next step of separation would bring."
    )


def _charter(facts: dict[str, Any]) -> Look:
    what = "the vault's charter"
    if not facts["charter"]:
        return Look(
            what,
            works=False,
            words="Nobody counts at the vault yet. Next: when the keepers have registered their "
            "passkeys, run setup again; each speaks the fingerprint.",
        )
    roles = [role for name in facts["pinned"] for role in facts["pinned"][name]]
    if roles.count("keep") < FEWEST_KEEPERS:
        return Look(what, works=False, words="Fewer than two keepers are pinned.")
    if "ask" not in roles or "yes" not in roles:
        words = "Nobody may ask, or nobody may sign. Next: two keepers pin them."
        return Look(what, works=False, words=words)
    return Look(what, works=True, words=f"version {facts['charter']}")


def _page(what: str, house: House, url: str, through: str, *, is_signing: bool = False) -> Look:
    authority = Path(house.tls_authority).read_text() if house.tls_authority else ""
    try:
        answer = answering.ask(url, authority=authority, through=through)
    except answering.Silent as reason:
        return Look(what, works=False, words=str(reason))
    if is_signing and not answering.is_closed(answer):
        words = f"{url} lacks the headers of deploy/nginx.conf, or is another page."
        return Look(what, works=False, words=words)
    return Look(what, works=True, words=f"{url} answers {answer.status}")
