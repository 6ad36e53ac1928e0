"""What attacks on the house share: every SQL with the triggers off, copies of rows, and ears.

Whoever attacks here is a superuser of the database: he may write what he likes, and put back tomorrow
what he has copied today.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone
from psycopg import sql

from devices import sealing
from devices.models import Command, Device
from passcodes import signatures
from passcodes.models import (
    Approval,
    ClearRequest,
    Handover,
    LostMode,
    Possession,
    Signature,
)
from passcodes.signatures import Signed
from staff.models import User
from tests import clears
from tests.simulator.phone import Phone

SHOWN = b"<string>ClearPasscode</string>"


@contextmanager
def triggers_off() -> Iterator[None]:
    """Neither triggers nor foreign keys say anything to what is done here."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW session_replication_role")
        [(before,)] = cursor.fetchall()
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            with suppress(DatabaseError):  # in a transaction that has failed: it is undone with it
                cursor.execute(f"SET session_replication_role = {before}")


def superuser(statement: str, *values: Any, **names: str) -> list[Any]:
    """Any SQL; what it gives back."""
    named = {name: sql.Identifier(said) for name, said in names.items()}
    with triggers_off(), connection.cursor() as cursor:
        whole = sql.SQL(statement).format(**named) if named else sql.SQL(statement)
        cursor.execute(whole.as_string(cursor.connection), values)
        return list(cursor.fetchall()) if cursor.description else []


def swap(model: type[models.Model], columns: str, one: Any, other: Any) -> None:
    """Exchange what stands in these columns of two rows."""
    first, second = (Copy.of(model._base_manager.get(pk=pk)) for pk in (one, other))
    theirs, mine = second.values(), first.values()
    with triggers_off():
        for copy in (first, second):
            copy.remove()
        first.put_back(**{name: theirs[name] for name in columns.split()})
        second.put_back(**{name: mine[name] for name in columns.split()})


@dataclass(frozen=True, slots=True)
class Copy:
    """Rows as they once were."""

    rows: tuple[tuple[str, str, Any, str], ...]  # table, key's column, key, row

    @classmethod
    def of(cls, *rows: models.Model) -> "Copy":
        copied = []
        for row in rows:
            key = row._meta.pk.column if row._meta.pk else ""
            assert key
            said = superuser(
                "SELECT to_jsonb(t)::text FROM {table} t WHERE {key} = %s",
                row.pk,
                table=row._meta.db_table,
                key=key,
            )
            copied.append((row._meta.db_table, key, row.pk, str(said[0][0])))
        return cls(tuple(copied))

    def values(self) -> dict[str, Any]:
        """What stands in the first."""
        return dict(json.loads(self.rows[0][3]))

    def remove(self) -> None:
        for table, key, pk, _ in self.rows:
            superuser("DELETE FROM {table} WHERE {key} = %s", pk, table=table, key=key)

    @transaction.atomic
    def put_back(self, **otherwise: Any) -> None:
        """Whatever has become of them since; `otherwise`: columns that shall say something else."""
        self.remove()
        for table, _, _, text in self.rows:
            row = json.loads(text)
            row |= {name: value for name, value in otherwise.items() if name in row}
            superuser(
                "INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)",
                json.dumps(row),
                table=table,
            )


def hears(phone: Phone) -> list[bytes]:
    """Every body that the phone is given from now on."""
    heard: list[bytes] = []
    real = phone.transport

    def listening(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        answer = real(method, url, headers, body)
        heard.append(answer[2])
        return answer

    phone.transport = listening
    return heard


def was_given_a_clear(heard: list[bytes]) -> bool:
    return any(SHOWN in body or b"UnlockToken" in body for body in heard)


def armed_by_sql(device: Device, *, asks: User, signs: User) -> tuple[ClearRequest, Command]:
    """All that a clear leaves in rows when the vault has handed it over, and nobody has signed."""
    [token] = device.tokens.filter(current=True)
    command = Command.objects.create(
        device=device, request_type="ClearPasscode", priority=-5, queued_at=timezone.now()
    )
    request = ClearRequest.objects.create(
        device=device,
        token=token,
        state="armed",
        reason="forgotten",
        words="Forgot it.",
        snapshot=signatures.seen(device, token),
        requested_by=asks,
        expires_at=clears.later(hours=3),
        command=command,
        armed_at=timezone.now(),
    )
    Possession.objects.create(request=request, how="word", proven_by=asks)
    Approval.objects.create(
        request=request,
        by=signs,
        until=clears.later(minutes=25),
        facts=signatures.seen(device, token),
    )
    says_not_lost(device)
    return request, command


def says_not_lost(device: Device) -> None:
    """As if the device had been asked in this very moment."""
    said = {"is_on": False, "asked_at": timezone.now(), "heard_at": timezone.now(), "because": ""}
    LostMode.objects.update_or_create(device=device, defaults=said)


def inserted(
    request: UUID, kind: str, person: User, signed: Signed, **otherwise: Any
) -> Signature:
    """A signature's row as a superuser writes it: no page and no rule of the staff site is asked."""
    facts = {"statement": signed.statement, "assertion": dict(signed.assertion), **otherwise}
    return Signature.objects.create(request=request, kind=kind, person=person, **facts)


def opens(box: bytes, key: X25519PrivateKey, place: bytes) -> bool:
    """Whatever key the box names: the mathematics alone."""
    named = sealing.HEAD + bytes.fromhex(sealing.key_id(key.public_key()))
    try:
        sealing.unseal(named + box[sealing.HEAD_LENGTH :], key=key, context=place)
    except sealing.DoesNotOpen:
        return False
    return True


def nothing_is_handed_over() -> bool:
    return not (
        Handover.objects.exists() or Command.objects.filter(request_type="ClearPasscode").exists()
    )
