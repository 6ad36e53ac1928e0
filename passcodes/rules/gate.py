"""What opens the gate for withheld configuration, and what shuts it.

It is open only while everything holds: the wanted version is proven installed, the newest
evidence was asked for after that, says compliant and is less than a day old, the enrollment is
active, and the device is neither lost nor inactive; what was silent for long has to prove anew
how it stands. A fact that is absent shuts it.

What is meant for a user of the device waits for the same gate: nothing that a user's own channel
says of a passcode opens it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from passcodes.rules import compliance, enforcement
from passcodes.rules.compliance import PasscodeFacts, Verdict

EVIDENCE_LASTS = timedelta(hours=24)
BEFORE_THE_SILENCE = (
    "The newest answer is from before the device fell silent. It waits for a new one."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """All that the gate looks at, for one device and one withheld configuration."""

    has_wanted_policy: bool
    wanted_version_installed_at: datetime | None  # None: not proven
    enforcement: enforcement.State | None
    facts: PasscodeFacts | None  # the newest evidence
    evidence_asked_at: datetime | None
    evidence_heard_at: datetime | None
    user_enrollment: bool
    measurable: bool
    enrollment_active: bool
    is_lost: bool
    installed_policy_is_enough: bool = False  # said by the configuration, for a Mac
    passcode_cleared_at: datetime | None = None
    clear_is_under_way: bool = False  # sent, and not answered
    is_inactive: bool = False  # silent longer than staff allow
    returned_at: datetime | None = None  # after such a silence
    profiles_asked_at: datetime | None = None  # of the newest list of what is installed
    policy_is_gone: bool = False  # that list does not show it, and it has not come back


@dataclass(frozen=True, slots=True)
class Answer:
    """`regressed`: the device speaks against itself, so what it has may be taken back.

    Stale or missing evidence shuts the gate and takes nothing back.
    """

    open: bool
    reasons: tuple[str, ...]
    regressed: bool = False


def ask(facts: GateFacts, *, now: datetime) -> Answer:
    """Whether withheld configuration may be delivered now, and everything that it waits for."""
    reasons = tuple(_reasons(facts, now))
    return Answer(open=not reasons, reasons=reasons, regressed=_has_regressed(facts))


def _reasons(facts: GateFacts, now: datetime) -> Iterator[str]:
    if facts.is_lost:
        yield "The device is marked lost. It waits until the device is marked as found."
    if not facts.enrollment_active:
        yield "The device is not enrolled. It waits until the device is enrolled again."
    if facts.is_inactive:
        yield "The device has been silent for too long. It waits until the device answers again."
    if facts.clear_is_under_way:
        yield "A clear of the passcode is under way. It waits for the device's answer."
    installation = list(_of_the_installation(facts))
    yield from installation
    if not installation:
        yield from _of_the_evidence(facts, now)


def _of_the_installation(facts: GateFacts) -> Iterator[str]:
    if not facts.has_wanted_policy:
        yield "No passcode policy is wanted for this device. It waits until one is assigned."
    elif facts.enforcement is enforcement.State.REFUSED:
        yield "The device refused the policy. It waits until a version is installed."
    elif (
        facts.wanted_version_installed_at is None
        or facts.enforcement is None
        or facts.enforcement is enforcement.State.PUSHED
        or facts.enforcement not in enforcement.LIVE
    ):
        yield (
            "The wanted version of the policy is not proven installed. "
            "It waits for the device to install it."
        )


def _of_the_evidence(facts: GateFacts, now: datetime) -> Iterator[str]:
    if not facts.measurable:
        if not facts.installed_policy_is_enough:
            yield (
                "This kind of device cannot prove its passcode. It waits for ever, unless the "
                "configuration says that an installed policy is enough."
            )
        elif _is_from_before_the_silence(facts, facts.profiles_asked_at):
            yield BEFORE_THE_SILENCE
        return
    if facts.facts is None or facts.evidence_asked_at is None or facts.evidence_heard_at is None:
        yield "The device has said nothing of its passcode yet. It waits for the first answer."
        return
    if not _speaks_of_the_version(facts):
        yield (
            "The newest answer is from before the installation of the wanted version. "
            "It waits for a new one."
        )
    if _is_from_before_the_silence(facts, facts.evidence_asked_at):
        yield BEFORE_THE_SILENCE
    if _was_cleared_since(facts):
        yield (
            "The passcode was cleared after the newest answer. "
            "It waits until a compliant passcode is proven."
        )
    if now - facts.evidence_heard_at > EVIDENCE_LASTS:
        yield "The newest answer is more than 24 hours old. It waits for a new one."
    yield from _of_the_passcode(facts, facts.facts)


def _of_the_passcode(facts: GateFacts, said: PasscodeFacts) -> Iterator[str]:
    match compliance.judge(said, user_enrollment=facts.user_enrollment):
        case Verdict.UNKNOWN:
            yield "The device did not say enough of its passcode. It waits for a full answer."
        case Verdict.NOT_COMPLIANT if said.present is False:
            yield "The device has no passcode. It waits until a compliant one is set."
        case Verdict.NOT_COMPLIANT if facts.enforcement is enforcement.State.GRACE:
            yield (
                "The passcode does not meet the policy, and the hour runs. "
                "It waits until the user sets a compliant one."
            )
        case Verdict.NOT_COMPLIANT if facts.enforcement is enforcement.State.OVERDUE:
            yield (
                "The passcode does not meet the policy, and it is overdue. "
                "It waits until the user sets a compliant one."
            )
        case Verdict.NOT_COMPLIANT:
            yield (
                "The passcode does not meet the policy. "
                "It waits until the user sets a compliant one."
            )
        case Verdict.COMPLIANT:
            return


def _is_from_before_the_silence(facts: GateFacts, asked_at: datetime | None) -> bool:
    if facts.returned_at is None:
        return False
    return asked_at is None or asked_at < facts.returned_at


def _speaks_of_the_version(facts: GateFacts) -> bool:
    return enforcement.is_evidence(
        asked_at=facts.evidence_asked_at, acknowledged_at=facts.wanted_version_installed_at
    )


def _was_cleared_since(facts: GateFacts) -> bool:
    if facts.passcode_cleared_at is None:
        return False
    return facts.evidence_asked_at is None or facts.evidence_asked_at < facts.passcode_cleared_at


def _has_regressed(facts: GateFacts) -> bool:
    """A device that cannot be measured speaks against itself only by its list of profiles."""
    if not facts.measurable:
        return facts.policy_is_gone
    verdict = compliance.judge(facts.facts, user_enrollment=facts.user_enrollment)
    return verdict is Verdict.NOT_COMPLIANT or _was_cleared_since(facts)
