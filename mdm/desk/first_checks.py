"""The steps from an empty database to the first device: what was tried for real, and how to mend what fails.

A step is done when each of its checks is. What costs nothing is looked at each time; what goes over a
network is tried when somebody says so, and grows old within a day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from devices import trials
from devices.models import Trial
from passcodes.models import VaultSays

CHECKIN, CONNECT, SIGNING = "door check-in", "door commands", "signing page"
FRESH = timedelta(hours=24)
ANSWERS_WITHIN = timedelta(seconds=30)  # the worker's clock looks each two seconds
RESTART = "manage.py setup --yes && systemctl restart 'passcodes-*'"  # public halves anew


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so: yes, no, care (it works, but), or open (not done, or not known).

    How to mend it is shown only while it is not so, and may be given all the same.
    """

    text: str
    state: str
    found: str = ""
    at: datetime | None = None  # None: looked at now
    mend: str = ""
    command: str = ""
    link: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    slug: str
    title: str
    why: str
    checks: tuple[Check, ...]
    can_wait: bool = False

    @property
    def is_done(self) -> bool:
        return all(one.state in {"yes", "care"} for one in self.checks)

    @property
    def is_wrong(self) -> bool:
        return any(one.state == "no" for one in self.checks)


@dataclass(frozen=True, slots=True)
class Known:
    """What has been found out, read once for all steps."""

    tried: dict[str, Trial]
    host: str  # by which whoever looks has come
    vault: dict[str, Any]
    vault_at: datetime | None
    now: datetime

    def facts(self, what: str) -> dict[str, Any]:
        """What was said lately; what was said long ago proves nothing."""
        trial = self.tried.get(what)
        is_fresh = trial is not None and trial.at is not None and self.now - trial.at <= FRESH
        return trial.facts if trial and is_fresh else {}


def read(host: str) -> Known:
    row = VaultSays.objects.filter(about=VaultSays.HOUSE).first()
    said, at = (row.said, row.at) if row else ({}, None)
    return Known(trials.known(), host, said, at, timezone.now())


def tried(
    known: Known,
    what: str,
    text: str,
    mend: str,
    command: str,
    *,
    since: datetime | None = None,
) -> Check:
    """What a trial has found; open where nobody tried, or too long ago, or before `since`."""
    trial = known.tried.get(what)
    if trial is None or (trial.at is None and trial.asked_at is None):
        return Check(text, "open", "Not tried yet.")
    if trial.asked_at and (trial.at is None or trial.at < trial.asked_at):
        if known.now - trial.asked_at < ANSWERS_WITHIN:
            return Check(text, "open", "The worker is trying.", trial.asked_at)
        return Check(
            text,
            "no",
            "The worker has not answered.",
            trial.asked_at,
            "Start the worker and the clock.",
            "systemctl start passcodes-worker passcodes-clock",
        )
    assert trial.at is not None
    if not trial.works:
        return Check(text, "no", trial.words, trial.at, mend, command)
    if known.now - trial.at > FRESH or (since and trial.at < since):
        return Check(text, "open", "That was some time ago.", trial.at)
    is_address = trial.words.startswith("http")
    words = trial.words if is_address else trial.words[:1].upper() + trial.words[1:]
    return Check(text, "yes", words, trial.at)
