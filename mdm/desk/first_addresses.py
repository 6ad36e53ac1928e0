"""What answers: the house's addresses, the push service and the mail server."""

from collections.abc import Iterator

from django.conf import settings
from django.urls import reverse
from django.utils import formats, timezone

from devices import trials
from devices.models import NoticePlace, PushCertificate
from devices.rules.push_certificates import WARN_BEFORE
from mdm.desk.first_checks import CHECKIN, CONNECT, SIGNING, Check, Known, tried


def addresses(known: Known) -> Iterator[Check]:
    came_by = settings.STAFF_URL.partition("://")[2].rstrip("/")
    yield Check(
        "People reach this site",
        "yes" if known.host == came_by else "care",
        f"You came by {known.host}"
        + ("." if known.host == came_by else f"; links lead to {came_by}."),
    )
    proxy = "systemctl status nginx 'passcodes-*'; manage.py setup --check"
    yield tried(
        known,
        CHECKIN,
        "Devices reach the door to check in",
        "Start the door and the proxy before it.",
        proxy,
    )
    yield tried(
        known,
        CONNECT,
        "Devices reach the door for commands",
        "Start the door and the proxy before it.",
        proxy,
    )
    yield tried(
        known,
        SIGNING,
        "People reach the signing page",
        "See deploy/nginx.conf for its headers.",
        proxy,
    )
    if settings.DEMO and settings.DOOR_URL.startswith("http://"):
        return
    pins = bool(settings.DOOR_TLS_AUTHORITY)
    yield Check(
        "Devices that enroll pin the door’s TLS",
        "yes" if pins else "care",
        "" if pins else "They believe every authority that they know.",
        None,
        "Name the authority of the door’s certificate before the first device comes.",
        "manage.py setup --tls-authority FILE.pem",
    )


def push(known: Known) -> Iterator[Check]:
    row = PushCertificate.objects.filter(is_current=True).defer("sealed_key").first()
    page = ("Push certificate", reverse("admin:devices_pushcertificate_changelist"))
    if row is None:
        yield Check(
            "A certificate from Apple is loaded",
            "open",
            "",
            None,
            "Make a signing request, have your MDM vendor sign it, upload it at identity.apple.com with an Apple "
            "Account of the organisation, and load what Apple gives.",
            link=("Make a signing request", reverse("admin:pushcertificate_request")),
        )
        return
    ends = formats.date_format(timezone.localtime(row.not_after), "j F Y")
    if row.not_after <= known.now:
        yield Check(
            "It is valid",
            "no",
            f"It ended on {ends}.",
            None,
            "Renew the same one at identity.apple.com.",
            link=page,
        )
    else:
        state = "yes" if row.not_after > known.now + WARN_BEFORE else "care"
        yield Check("It is valid", state, f"Until {ends}")
    yield tried(
        known,
        trials.PUSH,
        "The worker opens its key, the topic matches, and the push service accepts it",
        "Load the certificate again if its key is sealed to another worker; else see that the worker reaches the "
        "push service.",
        "journalctl -u passcodes-worker -n 20",
        since=row.added_at,
    )
    if row.alarm:
        yield Check(
            "Pushes go out",
            "no",
            row.alarm,
            row.alarm_since,
            "It goes on by itself when this is mended.",
            link=page,
        )


def mail(known: Known) -> Iterator[Check]:
    yield tried(
        known,
        trials.MAIL,
        "A test mail has left",
        "Set EMAIL_URL and EMAIL_FROM in the worker’s environment file, and start it again.",
        "systemctl restart passcodes-worker",
    )
    for place in NoticePlace.objects.exclude(trouble=""):
        page = ("Notices", reverse("admin:devices_notice_changelist"))
        since, mend = place.trouble_since, "It is tried again by itself."
        yield Check(f"Notices to {place} arrive", "care", place.trouble, since, mend, link=page)
    if words := known.vault.get("mail"):
        yield Check(
            "The vault’s own mail leaves",
            "care",
            str(words),
            known.vault_at,
            "See VAULT_MAIL in the vault’s file.",
        )
