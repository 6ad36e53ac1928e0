"""A rollout in waves: some devices first, and the others when these have shown that it goes well.

The next wave goes by a person's click; or by itself once the time is over, if enough of the devices
have installed the version and few enough are in trouble. Silence is no success: it makes the next wave
wait. Too much trouble holds the rollout, and then only a person lets it go on. The last wave is
everyone else, and from then on the groups have the version.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

ALL = 100  # percent
MOST_WAVES = 4  # and everyone else
ENOUGH_HEARD = 50  # percent of the devices so far that have to have installed the version
SHORTEST, LONGEST = 1, 720  # hours between two waves


class Refused(Exception):
    """The step is not open, or the waves make no sense; the message says why."""


class Kind(StrEnum):
    DEVICES = "devices"
    PERCENT = "percent"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Portion:
    """How many devices a wave has: a number, a part of all in percent, or those of a group, by its key."""

    kind: Kind
    value: int

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "value": self.value}


class State(StrEnum):
    WAITING = "waiting"  # for a click, or for its time
    HELD = "held"  # by a person, or because too many devices are in trouble
    DONE = "done"
    STOPPED = "stopped"


class Step(StrEnum):
    GO_ON = "go on"
    FINISH = "finish"  # go on, with the last wave
    HOLD = "hold"
    STOP = "stop"


OPEN = frozenset({State.WAITING, State.HELD})  # one a policy
MOVES: dict[tuple[State, Step], State] = {
    (State.WAITING, Step.GO_ON): State.WAITING,
    (State.WAITING, Step.FINISH): State.DONE,
    (State.WAITING, Step.HOLD): State.HELD,
    (State.WAITING, Step.STOP): State.STOPPED,
    (State.HELD, Step.GO_ON): State.WAITING,
    (State.HELD, Step.FINISH): State.DONE,
    (State.HELD, Step.STOP): State.STOPPED,
}
IN_WORDS = {
    State.WAITING: "Going on in waves",
    State.HELD: "Held",
    State.DONE: "All waves are out",
    State.STOPPED: "Stopped",
}


@dataclass(frozen=True, slots=True)
class Health:
    """How the devices stand that have been reached so far; numbers of devices."""

    devices: int
    installed: int
    overdue: int
    refused: int

    @property
    def trouble(self) -> int:
        return self.overdue + self.refused


@dataclass(frozen=True, slots=True)
class Go:
    """Nothing speaks against the next wave."""


@dataclass(frozen=True, slots=True)
class Wait:
    because: str


@dataclass(frozen=True, slots=True)
class Hold:
    because: str


Verdict = Go | Wait | Hold


def take(step: Step, state: State) -> State:
    """The state that `step` leads to, or Refused."""
    try:
        return MOVES[state, step]
    except KeyError:
        raise Refused(f"A rollout in waves that is {state} cannot {step}.") from None


def by_itself(
    state: State, health: Health, *, due_at: datetime | None, threshold: int, now: datetime
) -> Verdict:
    """Whether the clock lets the next wave go. `threshold`: percent in trouble that are borne."""
    if state is not State.WAITING:
        return Wait("It waits for a person.")
    if due_at is None:
        return Wait("It waits for a person.")
    if health.trouble * ALL > threshold * health.devices:
        return Hold(
            f"{health.trouble:,} of {_devices(health.devices)} {_is(health.trouble)} overdue or "
            f"refused the version: more than {threshold} %."
        )
    if now < due_at:
        return Wait("Its time has not come.")
    if health.installed * ALL < ENOUGH_HEARD * health.devices:
        return Wait(
            f"Only {health.installed:,} of {_devices(health.devices)} {_has(health.installed)} "
            "installed the version so far. It goes on by itself when half of them have."
        )
    return Go()


def stands_still(
    state: State,
    *,
    held_because: str,
    by_a_person: bool,
    since: datetime,
    due_at: datetime | None,
    day: timedelta,
    now: datetime,
) -> str:
    """Why somebody has to look at a rollout in waves now; empty where it goes its way.

    One that stopped by itself cannot wait. What waits for a person, or for devices that do not answer,
    is said after a day.
    """
    if state is State.HELD and not by_a_person:
        return f"stopped by itself. {held_because}"
    if state is State.HELD and now >= since + day:
        return f"is held for more than a day. {held_because}"
    if state is not State.WAITING:
        return ""
    if due_at is None and now >= since + day:
        return "has waited for more than a day for somebody to let its next wave go."
    if due_at is not None and now >= due_at + day:
        return (
            "has not gone on for more than a day after its time: fewer than half of its devices "
            "have installed the version."
        )
    return ""


def check(portions: Sequence[Portion]) -> None:
    """Refused with everything that makes no sense in these waves."""
    problems = []
    if not portions:
        problems.append("A rollout in waves needs a first wave.")
    if len(portions) > MOST_WAVES:
        problems.append(f"{MOST_WAVES} waves before everyone else are enough.")
    problems += [
        "A wave has one device at least."
        for portion in portions
        if portion.kind is not Kind.GROUP and portion.value < 1
    ]
    percent = sum(portion.value for portion in portions if portion.kind is Kind.PERCENT)
    if percent >= ALL:
        problems.append("The parts come to 100 % or more: nothing is left for the last wave.")
    groups = [portion.value for portion in portions if portion.kind is Kind.GROUP]
    if len(groups) != len(set(groups)):
        problems.append("A group is one wave, not two.")
    if problems:
        raise Refused(" ".join(dict.fromkeys(problems)))


def from_json(data: Iterable[Mapping[str, Any]]) -> tuple[Portion, ...]:
    return tuple(Portion(Kind(one["kind"]), int(one["value"])) for one in data)


def members(
    portion: Portion,
    device_ids: Collection[int],
    *,
    total: int,
    seed: int,
    of_group: Collection[int] = (),
) -> list[int]:
    """Which of the devices that are left make up the wave. `total`: all that the rollout is for.

    A mixture that depends on the seed alone, not those that enrolled first: the oldest devices are
    a poor sample of all.
    """
    if portion.kind is Kind.GROUP:
        return sorted(set(device_ids) & set(of_group))
    number = size(portion, left=len(device_ids), total=total)
    mixed = sorted(device_ids, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    return sorted(mixed[:number])


def size(portion: Portion, *, left: int, total: int, of_group: int = 0) -> int:
    """How many devices a wave has, where `left` are left; `of_group` of these are in its group."""
    match portion.kind:
        case Kind.GROUP:
            return of_group
        case Kind.DEVICES:
            return min(portion.value, left)
        case Kind.PERCENT:
            return min(-(-total * portion.value // ALL), left)  # rounded up: a part of few is one
        case _:
            assert_never(portion.kind)


def in_words(portion: Portion, *, group: str = "") -> str:
    match portion.kind:
        case Kind.GROUP:
            return f"the devices of {group}"
        case Kind.DEVICES:
            return _devices(portion.value)
        case Kind.PERCENT:
            return f"{portion.value} % of all"
        case _:
            assert_never(portion.kind)


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _devices(number: int) -> str:
    return "1 device" if number == 1 else f"{number:,} devices"
