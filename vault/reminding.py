"""Remind those who can sign of a clear that waits for them; later the keepers, who can say who else may.

Each is told once. The mail is the vault's own, names the devices and the people, and holds no secret.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from passcodes.models import ClearList
from passcodes.rules import statements
from passcodes.rules.charter import Charter, Person
from passcodes.signatures import CLEAR
from vault import notices
from vault.journal import Journal
from vault.memory import Hearing

REMIND, ESCALATE = 1, 2
AFTER = {REMIND: 15 * 60, ESCALATE: 60 * 60}  # seconds from the ask
SHARE = {
    REMIND: 4,
    ESCALATE: 2,
}  # at the latest after a quarter, and half, of the time that it has
NAMED = 10  # devices in a mail


def take(journal: Journal, charter: Charter) -> int:
    """Put what is due into the outbox; how many mails."""
    if not settings.VAULT_MAIL:
        return 0
    now, put = timezone.now().timestamp(), 0
    for request in journal.waiting():
        heard = journal.hearing(request)
        assert heard is not None  # it waits
        stage = _due(heard, now)
        if stage > journal.reminded(request):
            put += _remind(request, heard, stage, journal, charter)
    return put


def _due(heard: Hearing, now: float) -> int:
    """How far it should be known by now; nothing of what has all its time before it."""
    lasts = heard.ask.until - heard.ask.at
    return max(
        (
            stage
            for stage, after in AFTER.items()
            if now >= heard.ask.at + min(after, lasts / SHARE[stage])
        ),
        default=0,
    )


def _remind(request: UUID, heard: Hearing, stage: int, journal: Journal, charter: Charter) -> int:
    ask = statements.read(journal.statement(heard.ask))
    missing = _missing(heard, ask, charter)
    if missing <= 0:
        return 0
    people = [one for one in charter.people if _may_sign(one, heard, ask, charter)]
    told = [one.mail for one in people]
    if stage == ESCALATE:
        told += [one.mail for one in charter.people if "keep" in one.roles]
        told += settings.VAULT_MAIL_TO
    journal.remind(request, stage=stage)
    notices.to_people(
        journal,
        f"reminder-{stage}-{request.hex}",
        to=told,
        subject=f"{settings.ORGANISATION}: a clear waits for a signature",
        text=_in_words(request, heard, ask, missing, [one.name for one in people]),
    )
    return 1


def _missing(heard: Hearing, ask: dict[str, Any], charter: Charter) -> int:
    """How many signatures of approvers; none of what is no clear."""
    if ask["act"] != CLEAR:
        return 0
    rule = charter.rule(reason=ask["reason"], serials=[one["serial"] for one in ask["devices"]])
    witnesses = {one.by for one in heard.said("witness")}
    return rule.approvers - len({one.by for one in heard.said("yes")} - witnesses)


def _may_sign(person: Person, heard: Hearing, ask: dict[str, Any], charter: Charter) -> bool:
    """Pinned for a yes, and none of those who have a part in it already."""
    if "yes" not in person.roles or not person.keys:
        return False
    has_a_part = person.name in {heard.ask.by, *(one.by for one in heard.answers)}
    uses_one = any(person.is_called(one["user"]) for one in ask["devices"])
    serials = [one["serial"] for one in ask["devices"]]
    return not has_a_part and not uses_one and charter.may_sign_for(person, serials)


def _in_words(
    request: UUID, heard: Hearing, ask: dict[str, Any], missing: int, may_sign: list[str]
) -> str:
    devices = ask["devices"]
    what = "one device" if len(devices) == 1 else f"{len(devices)} devices"
    named = ", ".join(one["serial"] for one in devices[:NAMED])
    more = f" and {len(devices) - NAMED} more" if len(devices) > NAMED else ""
    until = timezone.localtime(
        datetime.fromtimestamp(heard.ask.until, timezone.get_current_timezone())
    )
    signatures = "one signature" if missing == 1 else f"{missing} signatures"
    page = "clearlist" if ClearList.objects.filter(pk=request).exists() else "clearrequest"
    lines = [
        f"{heard.ask.by} has asked for the clear of {what}: serial number {named}{more}.",
        f"It waits for {signatures}, and runs out at {until:%H:%M}.",
        f"May sign: {', '.join(may_sign) or 'nobody who is pinned. A keeper can pin somebody'}.",
        "",
        f"{settings.STAFF_URL}/passcodes/{page}/{request}/change/",
        "",
        "This mail comes from the vault itself. It asks you to look, and not to sign.",
    ]
    return "\n".join(lines) + "\n"
