"""What stands on a request's page of its notices: who was called, by which way, and what has not arrived."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from devices.models import Notice
from devices.rules.notices import State
from passcodes import notices


@dataclass(frozen=True, slots=True)
class Told:
    """Of one kind by one way: to whom, and how it stands."""

    what: str
    way: str
    names: str
    state: State
    at: datetime | None  # sent, or tried again
    trouble: str

    @property
    def is_late(self) -> bool:
        return self.state is State.FAILED or (self.state is State.WAITING and bool(self.trouble))


def of(about: UUID) -> list[Told]:
    """The newest last; what stands alike is one line."""
    alike: dict[tuple[str, str, str, str], list[Notice]] = defaultdict(list)
    for one in notices.of_request(about):
        alike[one.kind, one.channel, one.state, one.trouble].append(one)
    return [_told(rows) for rows in alike.values()]


def _told(rows: list[Notice]) -> Told:
    first = rows[0]
    times = [at for one in rows if (at := one.sent_at or one.next_try_at)]
    names = [str(one.person) for one in rows if one.person] or [""]
    return Told(
        what=first.what,
        way=first.way,
        names=", ".join(sorted(names)),
        state=State(first.state),
        at=min(times) if times and (first.sent_at or first.is_undone) else None,
        trouble=first.trouble,
    )
