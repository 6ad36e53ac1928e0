"""Carry one notice out of the house: by mail, or as a POST to Slack, Teams or another webhook.

What goes wrong is said by its kind and number alone: a server's words may quote what was sent, and a
webhook's address is a password.
"""

import http.client
import json
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.core.validators import validate_email

from devices.models import NoMail, Notice
from devices.rules import notices as rules
from devices.rules.notices import Channel, Delivered, Later, Message, Needless, Outcome, Refused

PATIENCE = 5.0  # seconds for each word of a server
IN_ALL = 20.0  # seconds; a server that says a letter now and then is hung up on
BY_SMTP = "django.core.mail.backends.smtp.EmailBackend"
TAKEN, ELSEWHERE, OUT_OF_ORDER = 2, 3, 5  # the hundreds of HTTP's answers
FOR_GOOD = 5  # of SMTP's
ASKS_FOR_PATIENCE = {408, 425, 429}
LONGEST_WISH, DIGITS = 86_400, 6  # seconds, and with how many digits one is told from a longer one


def carry(notice: Notice) -> Outcome:
    """Send it; what came of it. Nothing that goes wrong outside flies past here."""
    message = Message(
        rules.Kind(notice.kind), notice.title, tuple(map(str, notice.lines)), notice.link
    )
    if notice.person_id is not None:
        return _mail(notice, message)
    return _post_to(notice, message)


def webhooks() -> dict[str, tuple[Channel, SplitResult]]:
    """What the environment names, by the name that it has in this house."""
    return {
        name: (Channel(channel), urlsplit(address))
        for name, channel, address in settings.NOTICE_WEBHOOKS
    }


def message_id(notice: Notice) -> str:
    """The same at each try, so that a mail that comes twice is known as one."""
    host = urlsplit(settings.STAFF_URL).hostname or "passcodes.invalid"
    return f"<notice-{notice.pk.hex}@{host}>"


def send(letter: EmailMessage) -> None:
    """To the mail server, which has so long in all. What it does not take flies as Python has it."""
    letter.extra_headers["Auto-Submitted"] = "auto-generated"
    lines: list[socket.socket] = []
    letter.connection = _post_office(lines)
    with _hung_up_in_time(lambda: lines[-1] if lines else None):
        letter.send()


def mail_server() -> str:
    """Its host, or the demo's folder."""
    folder = getattr(settings, "EMAIL_FILE_PATH", None)
    return f"the folder {Path(folder).name}" if folder else str(settings.EMAIL_HOST)


def _mail(notice: Notice, message: Message) -> Outcome:
    assert notice.person_id is not None
    found = get_user_model().objects.filter(pk=notice.person_id)
    name, to, may_sign_in = found.values_list("username", "email", "is_active").get()
    if why_not := _unwanted(notice, name, to, may_sign_in=may_sign_in):
        return why_not
    subject, text = rules.mail(message, address=_address(message), house=settings.ORGANISATION)
    letter = EmailMessage(subject, text, to=[to], headers={"Message-ID": message_id(notice)})
    try:
        send(letter)
    except smtplib.SMTPRecipientsRefused as fault:
        code = min(code for code, _ in fault.recipients.values())
        words = f"The mail server does not take mail for {name} ({code})."
        return Refused(words) if _is_final(code) else Later(words)
    except smtplib.SMTPResponseException as fault:
        words = f"The mail server answers {fault.smtp_code}."
        return (Refused if _is_final(fault.smtp_code) else Later)(words, everything=True)
    except (smtplib.SMTPException, OSError) as fault:
        return Later(f"The mail server: {_in_words(fault)}", everything=True)
    except ValueError as fault:
        return Refused(f"The mail cannot be written: {_in_words(fault)}", everything=True)
    return Delivered()


def _post_office(lines: list[socket.socket]) -> BaseEmailBackend:
    """What takes letters. `lines` hears of each socket from its first word on, before it is open."""
    if settings.EMAIL_BACKEND != BY_SMTP:
        return get_connection()  # the demo's folder

    class Overheard(smtplib.SMTP):
        def getreply(self) -> tuple[int, bytes]:
            if self.sock:
                lines.append(self.sock)
            return super().getreply()

    class OverheardInTls(Overheard, smtplib.SMTP_SSL):
        pass

    class Office(SmtpBackend):
        @property
        def connection_class(self) -> type[smtplib.SMTP]:
            return OverheardInTls if self.use_ssl else Overheard

    return Office(timeout=PATIENCE)


def _unwanted(notice: Notice, name: str, to: str, *, may_sign_in: bool) -> Outcome | None:
    """Why no mail leaves for this person, whatever the server would say."""
    if not may_sign_in:
        return Needless(f"{name} may no longer sign in.")
    if NoMail.objects.filter(person=notice.person_id).exists():
        return Needless(f"{name} wants no mail.")
    if not to:
        return Needless(f"No address of {name} is known.")
    if not settings.EMAIL_URL:
        return Refused("The worker has no mail server: EMAIL_URL is not set.", everything=True)
    try:
        validate_email(to)
    except ValidationError:
        return Refused(f"The address of {name} is none.")
    return None


def _post_to(notice: Notice, message: Message) -> Outcome:
    place = webhooks().get(notice.place)
    if place is None:
        return Refused("The worker no longer knows this place: see NOTICE_WEBHOOKS.")
    channel, to = place
    said = {"address": _address(message), "house": settings.ORGANISATION}
    body: dict[str, Any]
    match channel:
        case Channel.SLACK:
            body = rules.slack(message, **said)
        case Channel.TEAMS:
            body = rules.teams(message, **said)
        case _:
            body = rules.plain(message, **said, key=notice.pk.hex)
    try:
        return _post(to, json.dumps(body).encode(), key=notice.pk.hex)
    except (http.client.HTTPException, OSError) as fault:
        return Later(_in_words(fault), everything=True)
    except ValueError as fault:
        return Refused(f"Its address cannot be used: {_in_words(fault)}", everything=True)


def _post(to: SplitResult, body: bytes, *, key: str) -> Outcome:
    """It has arrived when the answer is a 2xx. Nobody is followed elsewhere, and no answer is read."""
    host, port = to.hostname or "", to.port
    if to.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=PATIENCE, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    path = (to.path or "/") + (f"?{to.query}" if to.query else "")
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "passcodes",
        "Idempotency-Key": key,
    }
    try:
        with _hung_up_in_time(lambda: connection.sock):
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            status, wish = answer.status, answer.getheader("Retry-After", "")
    finally:
        connection.close()
    return _judged(status, wish)


@contextmanager
def _hung_up_in_time(line: Callable[[], socket.socket | None]) -> Iterator[None]:
    """TimeoutError where it takes too long in all, however often something is heard."""
    is_over = threading.Event()

    def hang_up() -> None:
        is_over.set()
        if found := line():
            with suppress(OSError):  # it has just ended by itself
                found.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(IN_ALL, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (http.client.HTTPException, smtplib.SMTPException, OSError):
        if is_over.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _judged(status: int, wish: str) -> Outcome:
    kind = status // 100
    if kind == TAKEN:
        return Delivered()
    if kind == OUT_OF_ORDER or status in ASKS_FOR_PATIENCE:
        return Later(f"It answers {status}.", after=_pause(wish), everything=True)
    words = f"It answers {status}."
    if kind == ELSEWHERE:
        words = f"It answers {status} and leads elsewhere, and notices follow nobody."
    return Refused(words, everything=True)


def _pause(wish: str) -> timedelta | None:
    """What a Retry-After in seconds asks for; one that is endless is cut."""
    if not wish.isascii() or not wish.isdecimal():
        return None
    return timedelta(seconds=min(int(wish[:DIGITS]), LONGEST_WISH))


def _is_final(code: int) -> bool:
    return code // 100 == FOR_GOOD


def _address(message: Message) -> str:
    return f"{settings.STAFF_URL.rstrip('/')}{message.link}"


def _in_words(fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return "No answer in time."
    if isinstance(fault, ssl.SSLCertVerificationError):
        return "Its certificate is not believed."
    if isinstance(fault, OSError) and fault.strerror and not isinstance(fault, ssl.SSLError):
        return f"{fault.strerror}."
    return f"{type(fault).__name__}."
