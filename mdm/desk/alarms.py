"""What burns, said on every page: a push certificate that stands still, whatever is about to end."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Exists
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from devices import door_key, identities, sealing
from devices.models import AuditEntry, Device, Notice, NoticePlace, PushCertificate
from devices.rules.door_key import LASTS, former_is_free_at
from devices.rules.push_certificates import WARN_BEFORE
from passcodes import acts, chain, door_rotation, vault_says, waves
from passcodes.models import Act, WavePlan
from passcodes.rules.acts import Kind, State
from staff.models import User


@dataclass(frozen=True, slots=True)
class Alarm:
    text: str
    next_step: str
    stops_everything: bool
    address: str = ""  # of the page that it is about


def burning() -> list[Alarm]:
    """The alarms of this moment, the worst first."""
    now, said = timezone.now(), vault_says.alarming()
    return [
        *_stands_still(said.stands_still),
        *_audit(),
        *_glass(len(said.unreviewed), said.marks_taken_away),
        *_charter(),
        *_stops(said.troubles),
        *_pushes(now),
        *_vault(),
        *_heads(said.not_sent),
        *_door_key(now),
        *_identities(now),
    ]


def of_those_who_look_after(user: AbstractBaseUser | AnonymousUser) -> list[Alarm]:
    """Rollouts in waves and notices that stand still, each for whoever sees them.

    Asked on every page: so first one question, whether there is anything to read at all.
    """
    if not isinstance(user, User):
        return []
    of_rollouts = user.has_perm("passcodes.view_rollout")
    of_notices = user.has_perm("devices.view_notice")
    if not of_rollouts and not of_notices:
        return []
    in_waves, cut_off, not_arrived = User.objects.values_list(
        Exists(WavePlan.objects.going()),
        Exists(NoticePlace.objects.exclude(trouble="")),
        Exists(Notice.objects.in_trouble()),
    ).get(pk=user.pk)
    return [
        *(_rollouts(user) if of_rollouts and in_waves else []),
        *(_notices() if of_notices and (cut_off or not_arrived) else []),
    ]


def _rollouts(user: User) -> list[Alarm]:
    look = (
        "See there which devices are in trouble; then let the next wave go, or stop the rollout."
    )
    next_step = look if user.has_perm(waves.PUSH) else f"An author looks at it. {look}"
    return [
        Alarm(
            f"The rollout of {waved.rollout.version} {why}",
            next_step,
            stops_everything=False,
            address=reverse("admin:passcodes_rollout_change", args=[waved.pk]),
        )
        for waved, why in waves.standing_still()
    ]


def _notices() -> list[Alarm]:
    """The places that nothing gets through to; or that something has not arrived."""
    page, places = reverse("admin:devices_notice_changelist"), list(NoticePlace.objects.all())
    found = [
        Alarm(
            f"Notices have not gone out by {place.way.lower()} since {_at(place.trouble_since)}: "
            f"{place.trouble}",
            "They are tried again by themselves. What waits stands on the page «Notices».",
            stops_everything=False,
            address=page,
        )
        for place in places
        if place.trouble
    ]
    if places and not found:
        found.append(
            Alarm(
                "Notices have not arrived.",
                "Which, why, and when each is tried again, stands on the page «Notices».",
                stops_everything=False,
                address=page,
            )
        )
    return found


def selftest() -> AuditEntry | None:
    """The vault's last trial of whether tokens open."""
    return AuditEntry.objects.filter(verb="vault.selftest").order_by("-at").first()


def _stops(troubles: Iterable[str]) -> list[Alarm]:
    """What the vault itself says of stops at its console, and of its mail."""
    return [Alarm(words, "", stops_everything=False) for words in troubles]


def _glass(count: int, gone: int) -> list[Alarm]:
    """Break-glass is noisy: everybody reads of it, until two keepers have looked at it."""
    found = []
    if count:
        what = "A clear was" if count == 1 else f"{count} clears were"
        found.append(
            Alarm(
                f"{what} signed with the key from the safe, and nobody has reviewed it.",
                "Two keepers who took no part in it read the request and sign its review there.",
                stops_everything=False,
            )
        )
    if gone:
        whose = "A device that is lost is" if gone == 1 else f"{gone} devices that are lost are"
        found.append(
            Alarm(
                f"{whose} no longer marked so here, and nobody has signed that it was found.",
                "The vault opens nothing for it. Somebody has written to the database: an auditor "
                "looks for who can.",
                stops_everything=False,
            )
        )
    return found


def _charter() -> list[Alarm]:
    """What is signed and not yet in force, so that everybody can see it coming."""
    pending = Act.objects.filter(kind=Kind.CHARTER, state=State.SIGNED)
    return [
        Alarm(
            f"The charter is about to change: {acts.title(act)}.",
            "Whoever is pinned and knows better denies it, under «Other sign-offs».",
            stops_everything=False,
        )
        for act in pending
    ]


def _vault() -> list[Alarm]:
    last = selftest()
    if last is None or last.facts.get("opens") != "no":
        return []
    failed = last.facts["tried"] - last.facts["opened"]
    return [
        Alarm(
            f"{failed} of {last.facts['tried']} unlock tokens that the vault tried do not open.",
            "Those devices cannot be cleared. Whoever keeps the vault compares its keys with what "
            "the door seals to.",
            stops_everything=False,
        )
    ]


def _door_key(now: datetime) -> list[Alarm]:
    """Said of a key that the door has noted; the IT policy page says where it has noted none."""
    standing = door_rotation.standing()
    if standing is None:
        return []
    found = []
    if standing.left and now >= former_is_free_at(standing.since):
        many = f"{standing.left} secrets that the door keeps are"
        found.append(
            Alarm(
                ("1 secret that the door keeps is" if standing.left == 1 else many)
                + " sealed to a former key of it.",
                "Whoever keeps the door runs `manage.py door_rotate` while the door holds both keys.",
                stops_everything=False,
            )
        )
    if standing.is_overdue:
        found.append(
            Alarm(
                f"The door’s key has been in use for {(now - standing.since).days} days; it is "
                f"changed every {LASTS.days}.",
                "Whoever keeps the door makes a new one: docs/operations.md, «A new key for the "
                "door».",
                stops_everything=False,
            )
        )
    if _seals_to() not in {None, standing.key}:
        found.append(
            Alarm(
                "The staff site seals to another key than the door’s present one.",
                "Give it the new DOOR_PUBLIC_KEY, and see that the vault has it too.",
                stops_everything=False,
            )
        )
    return found


def _seals_to() -> str | None:
    """The id of the door's key that the staff site itself was given."""
    try:
        return door_key.present_id()
    except (door_key.NoKey, sealing.NotAKey):
        return None


def _stands_still(words: str) -> list[Alarm]:
    if not words:
        return []
    return [
        Alarm(
            f"The vault stands still: {words}",
            "Whoever keeps the vault mends it and starts it again. Nothing is opened until then, "
            "and nothing is opened twice.",
            stops_everything=True,
        )
    ]


def _heads(places: Collection[str]) -> list[Alarm]:
    if not places:
        return []
    return [
        Alarm(
            f"The audit’s newest head has not left the house. {' '.join(places)}",
            "It is tried again by itself, and whoever keeps the vault sees why. Until it arrives, "
            "a tail of the audit could be cut and nothing outside would show it.",
            stops_everything=False,
        )
    ]


def _identities(now: datetime) -> list[Alarm]:
    count = identities.ending(now).count()
    if not count:
        return []
    days = identities.RENEW_BEFORE.days
    whose = (
        "The identity of a device ends" if count == 1 else f"The identities of {count} devices end"
    )
    return [
        Alarm(
            f"{whose} within {days} days.",
            "Each is renewed by itself when its device next connects; find those that are silent.",
            stops_everything=False,
        )
    ]


def _pushes(now: datetime) -> list[Alarm]:
    certificate = PushCertificate.objects.filter(is_current=True).first()
    if certificate is None:
        if not Device.objects.enrolled().exists():
            return []
        return [
            Alarm(
                "There is no push certificate: no device can be woken.",
                "An admin makes a signing request and loads what Apple gives for it, on the page "
                "«Push certificate».",
                stops_everything=True,
            )
        ]
    if certificate.not_after <= now:
        return [
            Alarm(
                "Everything is stuck because the push certificate ended on "
                f"{certificate.not_after:%d %b %Y}: no device can be woken. Nothing is lost.",
                "An admin renews the same certificate in Apple’s portal and loads it on the page "
                "«Push certificate».",
                stops_everything=True,
            )
        ]
    if certificate.alarm:
        return [
            Alarm(
                f"Pushing stands still: {certificate.alarm}",
                "Nothing is lost; commands wait until it works again.",
                stops_everything=True,
            )
        ]
    if certificate.not_after <= now + WARN_BEFORE:
        days = (certificate.not_after - now).days
        when = "within a day" if days < 1 else "in 1 day" if days == 1 else f"in {days} days"
        return [
            Alarm(
                f"The push certificate ends {when}.",
                "Renew the same one; a new one would mean that every device enrolls again.",
                stops_everything=False,
            )
        ]
    return []


def _audit() -> list[Alarm]:
    standing = chain.standing(chain.own_keys())
    if standing.broken or standing.is_signed is False:
        what = standing.broken or "its newest signature is not the vault’s."
        return [
            Alarm(
                f"The audit was tampered with: {what}",
                "An operator runs `manage.py audit_verify`, with the heads that the vault keeps "
                "outside the database, and looks for who can write there.",
                stops_everything=True,
            )
        ]
    if standing.waits_since:
        since = _at(standing.waits_since)
        return [
            Alarm(
                f"The vault has signed nothing of the audit since {since}.",
                "See whether the worker and the vault are running. Until they are, nothing shows "
                "who changes what was recorded meanwhile.",
                stops_everything=False,
            )
        ]
    return []


def _at(value: datetime | None) -> str:
    return date_format(timezone.localtime(value), "j M Y, H:i") if value else "–"
