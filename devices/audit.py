"""Leave a trace of what happened: in the same transaction as the thing itself, or neither happens."""

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
