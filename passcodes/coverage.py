"""Which devices could not be cleared today, and why: counted by the database, in one query.

The same facts as for one device's page (`clearing.obstacles`), asked of the whole fleet. A device
with two reasons is counted under both, and once in the sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Case, CharField, Count, F, FilteredRelation, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from devices.models import Device
from devices.models.device import Enrollment
from devices.rules.channels import RIGHT_LOCK, Platform
from passcodes import fresh_tokens
from passcodes.models.escrow import TokenState


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a device cannot be cleared, and what is to be done."""

    word: str  # in the address of the list
    icon: str
    one: str  # «1 device …»
    many: str
    next_step: str


REASONS = (
    Reason(
        "no_token",
        "key",
        "has given no token",
        "have given no token",
        "Ask for a new one on the device’s page, or enroll it again",
    ),
    Reason(
        "renewed",
        "key",
        "has renewed its certificate, and sent no token since",
        "have renewed their certificates, and sent no token since",
        "It is asked by itself, a few times; a device that stays silent is enrolled again",
    ),
    Reason(
        "refused",
        "care",
        "has refused its token",
        "have refused their token",
        "Enroll it again, so that it sends a fresh one",
    ),
    Reason(
        "no_right",
        "care",
        "is enrolled without the right to remove a passcode",
        "are enrolled without the right to remove a passcode",
        "Enroll it again; an update cannot add the right",
    ),
    Reason(
        "inactive",
        "unreachable",
        "has been silent for too long",
        "have been silent for too long",
        "Connect it to a network, so that it answers",
    ),
    Reason(
        "unknown_kind",
        "phone",
        "has not told what kind of device it is",
        "have not told what kind of device they are",
        "Ask it for its state on the device’s page",
    ),
    Reason(
        "lost",
        "lost",
        "is marked lost",
        "are marked lost",
        "Have it seen; two people sign that it was found",
    ),
    Reason(
        "lost_mode",
        "lost",
        "says that it is in Lost Mode, and is not marked lost",
        "say that they are in Lost Mode, and are not marked lost",
        "Mark it as lost; have it seen; two people sign that it was found",
    ),
)
KINDS = (  # no passcode that anybody could clear: nothing is missing there
    Reason(
        "mac",
        "phone",
        "is a Mac",
        "are Macs",
        "Reset the password with its recovery key, or by another administrator",
    ),
    Reason("tv", "phone", "is an Apple TV", "are Apple TVs", "None is needed"),
    Reason(
        "shared",
        "phone",
        "is a Shared iPad",
        "are Shared iPads",
        "Change the passcode of the user’s Managed Apple Account",
    ),
    Reason(
        "own",
        "person",
        "is its user’s own",
        "are their users’ own (User Enrollment)",
        "The user turns to Apple",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    reason: Reason
    count: int

    @property
    def words(self) -> str:
        return self.reason.one if self.count == 1 else self.reason.many


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many devices have a passcode that could be cleared, and how many of them could not today."""

    total: int
    cannot: int
    rows: tuple[Row, ...]
    kinds: tuple[Row, ...]


def of(devices: QuerySet[Device]) -> Coverage:
    """Of these devices, those that are enrolled; one query for any number of them."""
    conditions = _conditions()
    among = {reason.word: _clearable() & conditions[reason.word] for reason in REASONS}
    kinds = {kind.word: conditions[kind.word] for kind in KINDS}
    counted = _enrolled(devices).aggregate(
        total=Count("pk", filter=_clearable()),
        cannot=Count("pk", filter=_clearable() & _any(conditions)),
        **{word: Count("pk", filter=condition) for word, condition in (among | kinds).items()},
    )
    return Coverage(
        total=counted["total"],
        cannot=counted["cannot"],
        rows=tuple(Row(one, counted[one.word]) for one in REASONS if counted[one.word]),
        kinds=tuple(Row(one, counted[one.word]) for one in KINDS if counted[one.word]),
    )


def only(devices: QuerySet[Device], word: str) -> QuerySet[Device]:
    """The devices with this reason; «any» for all that cannot be cleared. An unknown word: all of them."""
    conditions = _conditions()
    if word == "any":
        return _enrolled(devices).filter(_clearable(), _any(conditions))
    if word not in conditions:
        return devices
    kinds = {kind.word for kind in KINDS}
    found = _enrolled(devices).filter(conditions[word])
    return found if word in kinds else found.filter(_clearable())


def each(devices: QuerySet[Device]) -> Iterator[tuple[Device, Reason]]:
    """Every device with every reason, for a file."""
    for reason in REASONS:
        for device in only(devices, reason.word).order_by("name", "serial", "pk").iterator():
            yield device, reason


def _enrolled(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Each with what its token stands for beside it; one device has one current token at most.

    Joined, since a fleet is read at once: asked device by device it took several times as long.
    """
    held = FilteredRelation(
        "tokens", condition=Q(tokens__current=True, tokens__enrollment=F("enrollment"))
    )
    is_its_own = Q(held__identity=Coalesce(F("identity"), Value("")))
    is_usable = Q(held__state__in=fresh_tokens.USABLE)
    in_escrow = Case(
        When(is_its_own & Q(held__state=TokenState.SUSPECT), then=Value("refused")),
        When(is_its_own & is_usable, then=Value("kept")),
        When(is_usable & Q(identity__isnull=False), then=Value("renewed")),
        default=Value("no_token"),
        output_field=CharField(),
    )
    enrolled = devices.filter(enrollment_state=Enrollment.ENROLLED)
    return enrolled.alias(held=held, in_escrow=in_escrow)


def _clearable() -> Q:
    """Kinds of devices that have a passcode which can be cleared."""
    return Q(is_shared_ipad=False, is_user_enrollment=False) & ~Q(
        platform__in=[Platform.MACOS.value, Platform.TVOS.value]
    )


def _any(conditions: dict[str, Q]) -> Q:
    found = Q()
    for reason in REASONS:
        found |= conditions[reason.word]
    return found


def _conditions() -> dict[str, Q]:
    """What must hold of a device, for each reason."""
    return {
        "no_token": Q(in_escrow="no_token"),
        "renewed": Q(in_escrow="renewed"),
        "refused": Q(in_escrow="refused"),
        "no_right": Q(Exact(F("access_rights").bitand(RIGHT_LOCK), Value(0))),
        "inactive": Q(inactive_since__isnull=False),
        "unknown_kind": Q(platform=Platform.UNKNOWN.value),
        "lost": Q(lost_at__isnull=False),
        "lost_mode": Q(lost_at=None, lost_mode__is_on=True),
        "mac": Q(platform=Platform.MACOS.value),
        "tv": Q(platform=Platform.TVOS.value),
        "shared": Q(is_shared_ipad=True),
        "own": Q(is_user_enrollment=True),
    }
