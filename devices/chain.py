"""Give each audit entry its place in the chain, in batches, once it is committed: nobody waits for it."""

from collections.abc import Iterable

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from devices.models import AuditEntry, AuditLink
from devices.rules import chain as rules

BATCH = 2_000  # entries at a time
AT_MOST = 20_000  # entries a tick
ONE_AT_A_TIME = 0x61756469745F6C6B  # the number of the lock under which the chain grows
FIELDS = ("pk", "at", "verb", "actor_id", "actor_name", "device_id", "facts")  # of a rules.Row


def link_due() -> int:
    """Link what has none; how many entries that were."""
    done = 0
    while done < AT_MOST:
        linked = _link_some()
        done += linked
        if linked < BATCH:
            break
    return done


def rows(entries: Iterable[int]) -> dict[int, rules.Row]:
    """These entries as they stand now; one that is gone is not among them."""
    found = AuditEntry.objects.filter(pk__in=list(entries)).order_by().values_list(*FIELDS)
    return {row[0]: row for row in found}


@transaction.atomic
def _link_some() -> int:
    if not _is_ours():
        return 0  # another worker is at it
    last = AuditLink.objects.order_by("-seq").first()
    place = rules.Place(last.seq, bytes(last.hash)) if last else rules.Place()
    linked = AuditLink.objects.filter(entry=OuterRef("pk"))
    rows = AuditEntry.objects.filter(~Exists(linked))
    newest = AuditEntry.objects.filter(pk=last.entry).first() if last else None
    if newest is not None:  # so that an old audit is not searched each time
        rows = rows.filter(at__gte=min(newest.at, timezone.now()) - rules.SEALED_WITHIN)
    links = []
    for row in rows.order_by("pk").values_list(*FIELDS)[:BATCH]:
        seq, digest = place.seq + 1, rules.digest(row)
        place = rules.Place(seq, rules.follow(place.hash, seq=seq, entry=row[0], digest=digest))
        links.append(AuditLink(seq=seq, entry=row[0], digest=digest, hash=place.hash))
    AuditLink.objects.bulk_create(links)
    return len(links)


def _is_ours() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
        return bool(cursor.fetchone()[0])
