"""What stands on a request's page of its notices: who was called, by which way, and what has not arrived."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from devices.models import Notice
from devices.models.notice import UNDONE
from devices.rules.notices import (
    CHANNELS_IN_WORDS,
    KINDS_IN_WORDS,
    Channel,
    Kind,
    State,
)
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
    state = State(first.state)
    times = [at for one in rows if (at := one.sent_at or one.next_try_at)]
    names = [str(one.person) for one in rows if one.person] or [""]
    return Told(
        what=KINDS_IN_WORDS[Kind(first.kind)],
        way=CHANNELS_IN_WORDS[Channel(first.channel)],
        names=", ".join(sorted(names)),
        state=state,
        at=min(times) if times and (first.sent_at or first.state in UNDONE) else None,
        trouble=first.trouble,
    )
