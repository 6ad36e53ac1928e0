"""The vault's own mail: what opens is told by the vault itself, so that nobody else can hide it.

A notice lies in the vault's state until a mail server has taken it. Where the charter demands one for a
clear, nothing opens before it has left. It names the device and the people, and holds no secret.
"""

import json
import logging
import smtplib
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from passcodes.rules import statements
from passcodes.rules.charter import Charter
from vault import disk
from vault.journal import PRIVATE, Journal
from vault.memory import Hearing

log = logging.getLogger(__name__)

FOLDER = "outbox"
AGAIN_AFTER = 30.0  # seconds after a server has refused or not answered
PATIENCE = 5.0  # seconds for each word of a server
WAITS = "The rule demands that the vault's own mail goes out first. It is on its way."
NOBODY = (
    "The rule demands that people are told by the vault's own mail, and nobody can be. "
    "Next: set VAULT_MAIL and VAULT_MAIL_FROM for the vault, and addresses in its charter."
)
END = (
    "Is this wrong? Whoever may sign says no on the request's page, and any member of staff "
    "marks the device as lost there. At the vault's console: manage.py vault_stop {request}\n\n"
    "This mail comes from the vault itself, which holds the key. The staff site cannot send or "
    "suppress it."
)


class Post:
    """Sends what lies in the outbox, and tries again later where that fails; one for each start."""

    def __init__(self) -> None:
        self.trouble = ""  # why nothing can be sent now, for every page
        self._next_at = 0.0

    def send_due(self, journal: Journal) -> int:
        """Send what waits, the oldest first; how many have left."""
        if not settings.VAULT_MAIL or time.monotonic() < self._next_at:
            return 0
        sent = 0
        refused: Exception | None = None
        try:
            for path in _waiting(journal.state):
                said = json.loads(path.read_text())
                try:
                    self._send(said)
                except smtplib.SMTPRecipientsRefused as fault:
                    refused = fault  # by this server, to these people; others are waiting
                    continue
                if said["request"]:
                    journal.noticed(UUID(said["request"]), people=len(said["to"]))
                path.unlink()
                sent += 1
        except (OSError, smtplib.SMTPException) as fault:
            refused = fault
        if refused:
            self._failed(refused)
        else:
            self.trouble = ""
        return sent

    def _send(self, said: dict[str, Any]) -> None:
        letter = EmailMessage()
        letter["From"] = settings.VAULT_MAIL_FROM
        letter["To"] = ", ".join(said["to"])
        letter["Subject"] = said["subject"]
        letter["Date"] = formatdate()
        letter["Message-ID"] = make_msgid(domain="vault.invalid")
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(said["text"])
        with _server() as server:
            refused = server.send_message(letter, to_addrs=said["to"])
        if refused:  # the others have it; it is not sent again to them
            log.error("The mail server does not take mail for %s of the people.", len(refused))

    def _failed(self, fault: Exception) -> None:
        """By its kind and number alone: a server's words may quote what was sent."""
        code = getattr(fault, "smtp_code", None)
        kind = f"{type(fault).__name__} {code}" if code else type(fault).__name__
        self.trouble = (
            f"The vault's own mail cannot be sent ({kind}). It tries again each "
            f"{AGAIN_AFTER:.0f} seconds."
        )
        self._next_at = time.monotonic() + AGAIN_AFTER
        log.error("%s", self.trouble)


def before_opening(request: UUID, journal: Journal, charter: Charter) -> str:
    """Put the notice of an opening into the outbox, once; what is waited for, if it must leave first."""
    waits = waits_for(request, journal, charter)
    if not settings.VAULT_MAIL or journal.was_noticed(request):
        return waits
    heard = journal.hearing(request)
    assert heard is not None  # its signatures suffice
    ask = statements.read(journal.statement(heard.ask))
    _put(
        journal.state,
        f"opening-{request.hex}",
        to=_to_tell(heard, ask, charter),
        subject=f"{settings.ORGANISATION}: an unlock token is opened",
        text=_of_opening(request, heard, ask),
        request=request.hex,
    )
    return waits


def waits_for(request: UUID, journal: Journal, charter: Charter) -> str:
    """Why the rule lets nothing open before a notice has left; empty where it has, or none is asked."""
    heard = journal.hearing(request)
    if heard is None or journal.was_noticed(request):
        return ""
    ask = statements.read(journal.statement(heard.ask))
    serials = [device["serial"] for device in ask.get("devices", [])]
    if not charter.rule(reason=ask.get("reason", ""), serials=serials).notice:
        return ""
    can_tell = settings.VAULT_MAIL and settings.VAULT_MAIL_FROM
    return WAITS if can_tell and _to_tell(heard, ask, charter) else NOBODY


def of_the_house(journal: Journal, charter: Charter, name: str, what: str) -> None:
    """Tell everybody pinned of something that is about the vault as a whole; once for each name."""
    everybody = {person.mail for person in charter.people}
    _put(
        journal.state,
        name,
        to=_addresses([*sorted(everybody), *settings.VAULT_MAIL_TO]),
        subject=f"{settings.ORGANISATION}: the vault tells",
        text=f"{what}\n\nThis mail comes from the vault itself. The staff site cannot send or suppress it.\n",
        request="",
    )


def to_people(journal: Journal, name: str, *, to: Iterable[str], subject: str, text: str) -> None:
    """A mail to these people, from whom nothing is waited for; once for each name."""
    _put(journal.state, name, to=_addresses(to), subject=subject, text=text, request="")


def _put(state: Path, name: str, *, to: list[str], subject: str, text: str, request: str) -> None:
    """Whole on the disk, or not there. Without anybody to tell there is nothing to send."""
    if not settings.VAULT_MAIL or not to:
        return
    folder = state / FOLDER
    folder.mkdir(mode=PRIVATE, exist_ok=True)
    path = folder / name
    if path.exists():
        return
    said = {"to": to, "subject": " ".join(subject.split()), "text": text, "request": request}
    disk.keep(path, json.dumps(said).encode())


def _waiting(state: Path) -> Iterator[Path]:
    folder = state / FOLDER
    if folder.is_dir():
        yield from sorted(
            (one for one in folder.iterdir() if one.suffix != ".new"),
            key=lambda one: one.stat().st_mtime_ns,
        )


def _to_tell(heard: Hearing, ask: dict[str, Any], charter: Charter) -> list[str]:
    """Who signed, who keeps the charter, who uses the devices, and the house's own mailbox."""
    signed = {one.by for one in (heard.ask, *heard.answers)}
    users = [str(device["user"]) for device in ask.get("devices", [])]
    people = [
        person.mail
        for person in charter.people
        if person.name in signed
        or "keep" in person.roles
        or any(person.is_called(user) for user in users)
    ]
    return _addresses([*people, *users, *settings.VAULT_MAIL_TO])


def _addresses(found: Iterable[str]) -> list[str]:
    """Those that are addresses, each once, in their order."""
    kept: dict[str, None] = {}
    for one in found:
        with suppress(ValidationError):
            validate_email(one)
            kept[one] = None
    return list(kept)


def _of_opening(request: UUID, heard: Hearing, ask: dict[str, Any]) -> str:
    devices = [
        f"- {device['model']}, serial number {device['serial']}, UDID {device['udid']}; "
        f"used by {device['user'] or 'nobody named'}, as the staff site says"
        for device in ask["devices"]
    ]
    signers = ", ".join(one.by for one in heard.said("yes")) or "nobody"
    lines = [
        f"The vault of {settings.ORGANISATION} opens an unlock token, so that a passcode is cleared.",
        "",
        *devices,
        "",
        f"Asked for by: {heard.ask.by} (reason: {ask['reason']})",
        f"Signed by: {signers}",
        f"Request: {request}",
        "",
        END.format(request=request.hex),
    ]
    return "\n".join(lines) + "\n"


def _server() -> smtplib.SMTP:
    """A connection to the mail server, protected as the address of it says."""
    place = settings.VAULT_MAIL
    host, port = place["EMAIL_HOST"], place["EMAIL_PORT"] or 0  # 0: the usual one
    context = ssl.create_default_context()
    if place.get("EMAIL_USE_SSL"):
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=PATIENCE)
    try:
        if place.get("EMAIL_USE_TLS"):
            server.starttls(context=context)
        if place.get("EMAIL_HOST_USER"):
            server.login(place["EMAIL_HOST_USER"], place["EMAIL_HOST_PASSWORD"])
    except (OSError, smtplib.SMTPException):
        server.close()
        raise
    return server
