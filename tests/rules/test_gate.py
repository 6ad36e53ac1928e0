"""What opens the gate, and everything that shuts it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passcodes.rules.compliance import PasscodeFacts
from passcodes.rules.enforcement import LIVE, State
from passcodes.rules.gate import EVIDENCE_LASTS, GateFacts, ask

NOW = datetime(2025, 11, 18, 14, 3, tzinfo=UTC)
INSTALLED = NOW - timedelta(minutes=37)
SECOND = timedelta(seconds=1)
PROVEN = PasscodeFacts(present=True, compliant=True, compliant_with_profiles=True)

OPEN = GateFacts(
    has_wanted_policy=True,
    wanted_version_installed_at=INSTALLED,
    enforcement=State.COMPLIANT,
    facts=PROVEN,
    evidence_asked_at=NOW - timedelta(minutes=7),
    evidence_heard_at=NOW - timedelta(minutes=7) + SECOND,
    user_enrollment=False,
    measurable=True,
    enrollment_active=True,
    is_lost=False,
)
UNMEASURED = replace(
    OPEN,
    measurable=False,
    enforcement=State.NOT_MEASURABLE,
    facts=None,
    evidence_asked_at=None,
    evidence_heard_at=None,
)


def test_a16_it_opens_when_everything_holds() -> None:
    answer = ask(OPEN, now=NOW)
    assert answer.open
    assert answer.reasons == ()
    assert not answer.regressed


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(OPEN, is_lost=True), "marked lost"),
        (replace(OPEN, enrollment_active=False), "not enrolled"),
        (replace(OPEN, has_wanted_policy=False), "No passcode policy is wanted"),
        (replace(OPEN, wanted_version_installed_at=None), "not proven installed"),
        (replace(OPEN, enforcement=None), "not proven installed"),
        (replace(OPEN, enforcement=State.PUSHED), "not proven installed"),
        (replace(OPEN, enforcement=State.ENDED), "not proven installed"),
        (replace(OPEN, enforcement=State.SUPERSEDED), "not proven installed"),
        (replace(OPEN, enforcement=State.REFUSED), "refused the policy"),
        (replace(OPEN, facts=None), "said nothing"),
        (replace(OPEN, evidence_asked_at=None), "said nothing"),
        (replace(OPEN, evidence_heard_at=None), "said nothing"),
        (replace(OPEN, evidence_asked_at=INSTALLED - SECOND), "before the installation"),
        (replace(OPEN, facts=replace(PROVEN, present=False)), "no passcode"),
        (replace(OPEN, facts=replace(PROVEN, compliant=False)), "does not meet"),
        (replace(OPEN, facts=replace(PROVEN, compliant_with_profiles=False)), "does not meet"),
        (replace(OPEN, facts=replace(PROVEN, present=None)), "did not say enough"),
        (replace(OPEN, facts=replace(PROVEN, compliant=None)), "did not say enough"),
        (replace(OPEN, facts=replace(PROVEN, compliant_with_profiles=None)), "not say enough"),
        (replace(OPEN, passcode_cleared_at=NOW - timedelta(minutes=1)), "was cleared"),
        (replace(OPEN, clear_is_under_way=True), "clear of the passcode is under way"),
        (UNMEASURED, "cannot prove its passcode"),
    ],
)
def test_a17_each_missing_proof_alone_shuts_it_and_says_what_it_waits_for(
    facts: GateFacts, reason: str
) -> None:
    answer = ask(facts, now=NOW)
    assert not answer.open
    (told,) = answer.reasons
    assert reason in told
    assert "It waits" in told


def test_a17_evidence_lasts_a_day() -> None:
    heard_at = NOW - EVIDENCE_LASTS
    old = replace(
        OPEN,
        wanted_version_installed_at=heard_at - timedelta(days=1),
        evidence_asked_at=heard_at - SECOND,
        evidence_heard_at=heard_at,
    )
    assert ask(old, now=NOW).open
    stale = ask(old, now=NOW + SECOND)
    assert "more than 24 hours old" in stale.reasons[0]
    assert not stale.regressed  # it stops deliveries, and takes nothing back


def test_a16_a_users_own_device_needs_one_flag() -> None:
    own = replace(OPEN, user_enrollment=True, facts=PasscodeFacts(compliant=True))
    assert ask(own, now=NOW).open
    assert not ask(replace(own, facts=PasscodeFacts()), now=NOW).open


def test_all_reasons_are_told_at_once() -> None:
    answer = ask(
        replace(OPEN, is_lost=True, enrollment_active=False, facts=PasscodeFacts(present=False)),
        now=NOW + EVIDENCE_LASTS + timedelta(days=1),
    )
    assert len(answer.reasons) == 4


@pytest.mark.parametrize(
    ("state", "words"), [(State.GRACE, "the hour runs"), (State.OVERDUE, "it is overdue")]
)
def test_the_reason_says_how_the_hour_stands(state: State, words: str) -> None:
    facts = replace(OPEN, enforcement=state, facts=replace(PROVEN, compliant=False))
    assert words in ask(facts, now=NOW).reasons[0]


def test_a_mac_gets_what_an_installed_policy_is_enough_for() -> None:
    enough = replace(UNMEASURED, installed_policy_is_enough=True)
    assert ask(enough, now=NOW).open
    assert not ask(replace(enough, wanted_version_installed_at=None), now=NOW).open
    assert not ask(replace(enough, is_lost=True), now=NOW).open
    assert not ask(replace(enough, has_wanted_policy=False), now=NOW).open


def test_what_cannot_be_measured_speaks_against_itself_by_its_list_of_profiles() -> None:
    assert ask(replace(UNMEASURED, policy_is_gone=True), now=NOW).regressed
    assert not ask(UNMEASURED, now=NOW).regressed
    assert not ask(replace(OPEN, policy_is_gone=True), now=NOW).regressed  # it can say more


def test_an_installed_policy_is_never_enough_where_a_device_can_speak() -> None:
    facts = replace(OPEN, installed_policy_is_enough=True, facts=replace(PROVEN, compliant=False))
    assert not ask(facts, now=NOW).open


def test_a21_a_clear_shuts_it_until_a_later_answer() -> None:
    cleared = replace(OPEN, passcode_cleared_at=NOW - timedelta(minutes=1))
    assert not ask(cleared, now=NOW).open
    assert ask(cleared, now=NOW).regressed
    proven = replace(cleared, evidence_asked_at=NOW, evidence_heard_at=NOW)
    assert ask(proven, now=NOW).open


@pytest.mark.parametrize("facts", [PasscodeFacts(present=False), PasscodeFacts(compliant=False)])
def test_what_a_device_says_against_itself_takes_things_back(facts: PasscodeFacts) -> None:
    assert ask(replace(OPEN, facts=facts), now=NOW).regressed


@pytest.mark.parametrize("facts", [None, PasscodeFacts(), PasscodeFacts(present=True)])
def test_silence_takes_nothing_back(facts: PasscodeFacts | None) -> None:
    assert not ask(replace(OPEN, facts=facts), now=NOW).regressed


@pytest.mark.parametrize("state", sorted(set(State) - LIVE))
def test_a_dead_enforcement_opens_nothing(state: State) -> None:
    assert not ask(replace(UNMEASURED, enforcement=state), now=NOW).open
