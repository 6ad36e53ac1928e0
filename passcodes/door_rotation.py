"""A new key for the door: everything that lies sealed to the former one is sealed anew.

In batches, each whole or not at all, and written only where the box is still the one that was read:
killed at any moment, the next start finds what is left by its key id. What the vault has handed over
is bound to its order and cannot be sealed anew; it ends by itself within the hour.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from devices import audit, bootstrap, door_key, logins, sealing
from devices.models import BootstrapToken, CustomCommand, DoorKey, NetworkUser
from devices.rules import door_key as rules
from passcodes import custom_command
from passcodes.models import Handover

BATCH = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """One table with boxes of the door's: how it is named, and what each box is bound to."""

    name: str
    table: str
    rows: Callable[[], models.QuerySet[Any]]
    place: Callable[[Any], bytes]
    beside: tuple[str, ...] = ()  # rows that are needed to know the place

    def sealed_otherwise(self, key: str) -> models.QuerySet[Any]:
        """Its boxes that are not sealed to this key."""
        return self.rows().exclude(key__in=[key, ""])

    def may_seal(self) -> bool:
        """Whether the database lets this login do it: check-in and connect may run apart."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT has_column_privilege(%s, 'box', 'SELECT') "
                "AND has_column_privilege(%s, 'box', 'UPDATE')",
                [self.table, self.table],
            )
            return bool(cursor.fetchone()[0])


KINDS = (
    Kind(
        "bootstrap token",
        "devices_bootstraptoken",
        BootstrapToken.objects.all,
        lambda kept: bootstrap.place(kept.device),
        ("device",),
    ),
    Kind(
        "network user",
        "devices_networkuser",
        NetworkUser.objects.all,
        lambda user: logins.place(user.short_name, user.realm),
    ),
    Kind(
        "command of an expert's own",
        "devices_customcommand",
        CustomCommand.objects.all,
        lambda custom: custom_command.place(custom.command),
        ("command",),
    ),
)


@dataclass(frozen=True, slots=True)
class Count:
    """How far it is with one kind of boxes."""

    kind: Kind
    resealed: int = 0
    not_opened: int = 0  # by no key that is here; they stay as they are
    left: int = 0
    is_forbidden: bool = False  # the login of this process may not do it


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database knows of the door's key, for a warning. It is never a source of keys."""

    key: str
    since: datetime
    left: int  # boxes that are sealed to another key

    @property
    def is_overdue(self) -> bool:
        return rules.is_overdue(self.since, timezone.now())


def rotate(*, progress: Callable[[Count], object] = lambda _: None) -> list[Count]:
    """Seal everything to the present key; NoKey where this process has none. May be repeated."""
    with transaction.atomic():
        key = door_key.note().key
    return [_reseal(kind, key, progress) for kind in KINDS]


def handed_over_otherwise() -> int:
    """Hand-overs under way that are sealed to another key than the present one."""
    present = door_key.present_id()
    boxes = Handover.objects.values_list("box", flat=True)
    return sum(sealing.named_key(bytes(box)) != present for box in boxes)


def former_is_free_at() -> datetime | None:
    """When the former key may go at the earliest; None: nobody has noted the present one."""
    known = door_key.known()
    return rules.former_is_free_at(known.since) if known else None


def standing() -> Standing | None:
    """The key in use, its age, and how much is sealed to another; None: nobody has noted it."""
    with connection.cursor() as cursor:
        cursor.execute(*_asked_of_all())
        row = cursor.fetchone()
    return Standing(row[0], row[1], sum(row[2:])) if row else None


@cache
def _asked_of_all() -> tuple[str, tuple[Any, ...]]:
    """One question about all kinds, put into words once: every page asks it."""
    counts = [
        kind.rows()
        .exclude(key="")
        .exclude(key=models.OuterRef("key"))
        .order_by()
        .annotate(all=models.Value(1))
        .values("all")
        .annotate(left=models.Count("pk"))
        .values("left")
        for kind in KINDS
    ]
    left = {f"left_{n}": Coalesce(models.Subquery(count), 0) for n, count in enumerate(counts)}
    known = DoorKey.objects.annotate(**left).values_list("key", "since", *left)[:1]
    return known.query.sql_with_params()


def _reseal(kind: Kind, key: str, progress: Callable[[Count], object]) -> Count:
    """All of a kind, and those that come meanwhile; what does not open is counted and left alone."""
    to_do = kind.sealed_otherwise(key).count()
    if not to_do:
        return Count(kind)
    if not kind.may_seal():
        return Count(kind, left=to_do, is_forbidden=True)
    resealed = not_opened = 0
    while True:
        done_in_turn = not_opened = 0
        for done, refused in _batches(kind, key):
            done_in_turn, not_opened = done_in_turn + done, not_opened + refused
            resealed += done
            progress(Count(kind, resealed, not_opened, max(to_do - resealed, 0)))
        if not done_in_turn:
            return Count(kind, resealed, not_opened, kind.sealed_otherwise(key).count())


def _batches(kind: Kind, key: str) -> Iterator[tuple[int, int]]:
    """Once through all of them: how many of each batch were sealed anew, how many did not open."""
    after: Any = None
    while True:
        with transaction.atomic():
            rows = kind.sealed_otherwise(key).order_by("pk")
            rows = rows.filter(pk__gt=after) if after is not None else rows
            claimed = list(
                rows.select_related(*kind.beside).select_for_update(
                    skip_locked=True, of=("self",)
                )[:BATCH]
            )
            if not claimed:
                return
            after = claimed[-1].pk
            counted = _seal_anew(kind, key, claimed)
        yield counted


def _seal_anew(kind: Kind, key: str, claimed: list[Any]) -> tuple[int, int]:
    done = refused = 0
    for one in claimed:
        was, place = bytes(one.box), kind.place(one)
        try:
            secret = door_key.unseal(was, context=place)
        except sealing.DoesNotOpen:
            refused += 1
            continue
        _, box = door_key.seal(secret, context=place)
        done += kind.rows().filter(pk=one.pk, box=was).update(key=key, box=box)
    if done:
        audit.record("door.resealed", kind=kind.name, boxes=done, key=key)
    return done, refused
