"""Leave a trace of what happened: in the same transaction as the thing itself, or neither happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import AbstractUser

from devices.models import AuditEntry, Device


def record(
    verb: str,
    *,
    device: Device | None = None,
    actor: AbstractUser | None = None,
    **facts: Any,
) -> None:
    """Add an entry. `verb` is «thing.what»; facts are JSON-able and never hold a secret."""
    AuditEntry.objects.create(
        verb=verb,
        device=device,
        actor_id=actor.pk if actor else None,
        actor_name=actor.get_username() if actor else "",
        facts=facts,
    )


@contextmanager
def refusals(
    verb: str,
    refusal: type[Exception],
    /,
    *,
    device: Device | None = None,
    actor: AbstractUser | None = None,
    **facts: Any,
) -> Iterator[None]:
    """Around a process's own transaction, so that the trace outlives what is rolled back."""
    try:
        yield
    except refusal as refused:
        record(verb, device=device, actor=actor, because=str(refused), **facts)
        raise


def record_many(
    verb: str,
    device_ids: list[int],
    *,
    actor: AbstractUser | None = None,
    **facts: Any,
) -> None:
    """The same entry for many devices at once."""
    actor_id, name = (actor.pk, actor.get_username()) if actor else (None, "")
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(verb=verb, device_id=pk, actor_id=actor_id, actor_name=name, facts=facts)
            for pk in device_ids
        ],
        batch_size=1000,
    )
