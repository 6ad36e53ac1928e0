"""Try parts of the set-up for real: the staff site its own, the worker those that need what it alone holds.

The staff site asks by a row; the worker's clock finds it. What comes of it is words for an admin.
"""

import smtplib
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cryptography import x509
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.utils import timezone

from devices import carriers, push_certificates, sealing
from devices.apns.transport import Address, transport
from devices.models import PushCertificate, Trial
from devices.rules.notices import one_line
from devices.rules.waking import Accepted, Gone, WrongToken

PUSH, MAIL = "push service", "mail"
TAKEN_FOR = timedelta(seconds=60)  # then another worker may try
NO_DEVICE = bytes(32)  # the push service knows no device of this token, and says so
LONGEST = 400  # characters of a server's words

Found = tuple[str, dict[str, Any]]


class NotWell(Exception):
    """It does not answer, or not as it should; the message says why, for a person to read."""


def ask(what: str, **words: str) -> None:
    """Have the worker try it at its next tick."""
    Trial.objects.update_or_create(
        what=what, defaults={"asked_at": timezone.now(), "asked": words, "taken_at": None}
    )


def note(what: str, *, works: bool, words: str, **facts: Any) -> None:
    """What this process itself has found."""
    found = {"at": timezone.now(), "works": works, "words": words, "facts": facts}
    Trial.objects.update_or_create(what=what, defaults=found)


def known() -> dict[str, Trial]:
    """The last of each."""
    return {one.what: one for one in Trial.objects.all()}


def take_due() -> int:
    """Try what was asked for and nobody has tried since; how many that were."""
    now = timezone.now()
    due = Trial.objects.filter(
        Q(at=None) | Q(at__lt=F("asked_at")),
        Q(taken_at=None) | Q(taken_at__lt=now - TAKEN_FOR),
        what__in=WORKERS,
        asked_at__isnull=False,
    )
    taken = 0
    for trial in due:
        mine = Trial.objects.filter(pk=trial.pk, taken_at=trial.taken_at, asked_at=trial.asked_at)
        if mine.update(taken_at=now):
            taken += 1
            _try(trial)
    return taken


def push_service(**_words: str) -> Found:
    """Whether the push service lets us in with the certificate that this worker opens."""
    row = PushCertificate.objects.filter(is_current=True).first()
    if row is None:
        raise NotWell(
            "There is no push certificate. Next: an admin asks Apple for one on the page "
            "«Push certificate»."
        )
    try:
        credentials = push_certificates.opened(row)
        certificate = x509.load_pem_x509_certificate(credentials.certificate.encode())
        topic = push_certificates.topic_of(certificate)
    except sealing.DoesNotOpen:
        raise NotWell("The push certificate’s key is not sealed to this worker.") from None
    except push_certificates.Refused as refused:
        raise NotWell(str(refused)) from None
    if topic != row.topic:
        raise NotWell(f"The certificate is not for {row.topic}, which devices listen to.")
    asked = Address(key=0, token=NO_DEVICE, magic="reach")
    outcome = transport().send([asked], credentials=credentials).get(0)
    if not isinstance(outcome, Accepted | WrongToken | Gone):
        raise NotWell(f"It does not take our push: {getattr(outcome, 'reason', 'no answer')}.")
    server = f"{settings.APNS_HOST}:{settings.APNS_PORT}"
    words = f"it takes the certificate {row.topic}, until {row.not_after:%d %B %Y}"
    return words, {"server": server, "certificate": row.pk}


def mail(*, to: str = "", by: str = "") -> Found:
    """A letter that goes out; or NotWell, with the mail server's own words."""
    if not settings.EMAIL_URL:
        raise NotWell("The worker knows no mail server: EMAIL_URL is not set.")
    letter = EmailMessage(
        subject=f"{settings.ORGANISATION}: mail works",
        body=(
            f"This is the test that {by or 'an admin'} asked for on the setup page of "
            f"{settings.STAFF_URL}. Nothing has to be done.\n"
        ),
        to=[to],
    )
    server = carriers.mail_server()
    try:
        carriers.send(letter)
    except smtplib.SMTPRecipientsRefused as refused:
        [(code, said), *_] = refused.recipients.values()
        raise NotWell(f"{server} refused {to}: {_said(code, said)}") from None
    except smtplib.SMTPResponseException as refused:
        words = _said(refused.smtp_code, refused.smtp_error)
        raise NotWell(f"{server} refused: {words}") from None
    except ssl.SSLCertVerificationError as fault:
        raise NotWell(
            f"{server} shows a certificate that is not valid: {fault.verify_message}."
        ) from None
    except (OSError, smtplib.SMTPException) as fault:
        reason = getattr(fault, "strerror", "") or str(fault) or type(fault).__name__
        words = f"{server} does not answer at port {settings.EMAIL_PORT}"
        raise NotWell(f"{words}: {reason[:LONGEST]}.") from None
    except ValueError as fault:
        raise NotWell(f"The letter cannot be written: {type(fault).__name__}.") from None
    return f"{server} took a letter to {to}", {"server": server, "to": to}


WORKERS: dict[str, Callable[..., Found]] = {PUSH: push_service, MAIL: mail}


def _try(trial: Trial) -> None:
    try:
        words, facts = WORKERS[trial.what](**trial.asked)
        works = True
    except NotWell as reason:
        works, words, facts = False, str(reason), {}
    Trial.objects.filter(pk=trial.pk).update(
        at=timezone.now(), works=works, words=words, facts={**facts, **_held()}
    )


def _held() -> dict[str, str]:
    """Which key this worker opens with; known even where all else fails."""
    key = sealing.private_key(settings.WORKER_PRIVATE_KEY)
    return {"worker": sealing.key_id(key.public_key())}


def _said(code: int, words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return f"«{code} {one_line(text, LONGEST)}»"
