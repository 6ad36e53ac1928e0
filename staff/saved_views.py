"""Views that people keep of a list: how it was narrowed, searched and ordered, under a name.

A view is a part of an address, and never says whose devices are seen: whoever opens it sees their own.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from devices import audit
from staff.models import SavedView, User

MOST = 30  # of one person on one list
LONGEST_NAME = 60
LONGEST_QUERY = 1000
UNDO_LASTS = timedelta(minutes=15)
PASSING = frozenset({"p", "e", "all", "_popup", "_to_field", "_facets"})  # where in it one was


class Refused(Exception):
    """It cannot be kept so; the message says why, for a person to read."""


def written(pairs: Iterable[tuple[str, str]]) -> str:
    """How a list is narrowed and ordered, in one way of writing, so that two can be compared."""
    kept = sorted((name, value) for name, value in pairs if value and name not in PASSING)
    return urlencode(kept)


def cleaned(query: str) -> str:
    return written(parse_qsl(query))


def seen(user: User, listed: str) -> QuerySet[SavedView]:
    """Their own, and what others share with a role of theirs; also what they have just deleted."""
    recently = timezone.now() - UNDO_LASTS
    is_own = Q(person=user) & (Q(dropped_at=None) | Q(dropped_at__gt=recently))
    is_shared = Q(role__in=user.groups.all(), dropped_at=None)
    return SavedView.objects.filter(is_own | is_shared, list=listed).select_related(
        "person", "role"
    )


@transaction.atomic
def keep(listed: str, query: str, name: str, *, role: str = "", by: User) -> SavedView:
    """Under this name from now on."""
    query = cleaned(query)
    if not query:
        raise Refused("Narrow, search or sort the list first: all of it needs no view.")
    if len(query) > LONGEST_QUERY:
        raise Refused("That is too long to be kept. Search for less at once.")
    if SavedView.objects.filter(person=by, list=listed, dropped_at=None).count() >= MOST:
        raise Refused(f"You have {MOST} views of this list. Delete one that you no longer need.")
    view = SavedView(
        person=by, list=listed, query=query, name=_name(name), role=_role(role, by=by)
    )
    _save(view)
    audit.record("view.kept", actor=by, **_facts(view))
    return view


@transaction.atomic
def change(pk: int, *, name: str, role: str, by: User) -> SavedView:
    """Another name, or seen by others."""
    view = _own(pk, by).get(dropped_at=None)
    view.name, view.role = _name(name), _role(role, by=by)
    _save(view, update_fields=["name", "role"])
    audit.record("view.changed", actor=by, **_facts(view))
    return view


@transaction.atomic
def drop(pk: int, *, by: User) -> SavedView:
    """Gone at once, and for a while it can be brought back."""
    view = _own(pk, by).get(dropped_at=None)
    view.dropped_at = timezone.now()
    view.save(update_fields=["dropped_at"])
    SavedView.objects.filter(person=by, dropped_at__lt=view.dropped_at - UNDO_LASTS).delete()
    audit.record("view.dropped", actor=by, **_facts(view))
    return view


@transaction.atomic
def bring_back(pk: int, *, by: User) -> SavedView:
    view = _own(pk, by).exclude(dropped_at=None).get()
    view.dropped_at = None
    _save(view, update_fields=["dropped_at"])
    audit.record("view.brought_back", actor=by, **_facts(view))
    return view


def _own(pk: int, by: User) -> QuerySet[SavedView]:
    """Nobody changes what somebody else has kept."""
    return SavedView.objects.select_for_update(of=("self",)).filter(pk=pk, person=by)


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise Refused("A view needs a name.")
    if len(name) > LONGEST_NAME:
        raise Refused(f"A name has {LONGEST_NAME} characters at most.")
    return name


def _role(name: str, *, by: User) -> Group | None:
    """A role that they are in themselves; empty: nobody else."""
    if not name:
        return None
    role = by.groups.filter(name=name).first()
    if role is None:
        raise Refused("A view is shared with a role that you are in yourself.")
    return role


def _save(view: SavedView, update_fields: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            view.save(update_fields=update_fields)
    except IntegrityError:
        raise Refused(f"You have a view «{view.name}» of this list already.") from None


def _facts(view: SavedView) -> dict[str, Any]:
    return {
        "list": view.list,
        "name": view.name,
        "shared_with": view.role.name if view.role else "",
    }
