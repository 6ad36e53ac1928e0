"""Who may clear a passcode, and what may happen to the request next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from devices.rules.channels import Platform
from passcodes.rules.clearing import (
    APPROVAL_LASTS,
    IN_WORDS,
    MOVES,
    OPEN,
    REASONS_IN_WORDS,
    REQUEST_LASTS,
    TOWARDS_AN_OPEN_DEVICE,
    DeviceFacts,
    Facts,
    Reason,
    Refused,
    State,
    Step,
    approved_until,
    exposed_after,
    look_again_at,
    obstacles,
    obstacles_to_ask,
    platform_refusals,
    runs_out_at,
    step_of_a_yes,
    take,
)

NOW = datetime(2025, 11, 18, 14, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HELPDESK, APPROVER, OWNER = 1, 2, 3

DEVICE = DeviceFacts(
    device_is_lost=False,
    token_kept=True,
    enrollment_is_active=True,
    has_lock_right=True,
    device_user=OWNER,
)
ASKED = Facts(
    state=State.REQUESTED,
    requested_by=HELPDESK,
    in_our_hands=True,
    expires_at=NOW + timedelta(hours=1),
    device_is_lost=False,
    token_kept=True,
    enrollment_is_active=True,
    has_lock_right=True,
    device_user=OWNER,
)
SIGNED = replace(
    ASKED,
    state=State.APPROVED,
    signed_by=frozenset({APPROVER}),
    approved_until=NOW + timedelta(minutes=20),
)
TOWARDS = [
    (Step.APPROVE, ASKED, APPROVER),
    (Step.ARM, SIGNED, None),
    (Step.SEND, replace(SIGNED, state=State.ARMED), None),
    (Step.SEND, replace(SIGNED, state=State.SENT), None),
]


def refused(step: Step, facts: Facts, by: int | None, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as refusal:
        take(step, facts, by=by, now=now)
    return str(refusal.value)


def test_the_straight_way_from_asking_to_protected() -> None:
    facts = ASKED
    for step, by, target in (
        (Step.APPROVE, APPROVER, State.APPROVED),
        (Step.ARM, None, State.ARMED),
        (Step.SEND, None, State.SENT),
        (Step.SEND, None, State.SENT),
        (Step.CONFIRM, None, State.CLEARED),
        (Step.EXPOSE, None, State.EXPOSED),
        (Step.PROTECT, None, State.REPROTECTED),
    ):
        state = take(step, facts, by=by, now=NOW)
        assert state is target
        facts = replace(SIGNED, state=state)


@pytest.mark.parametrize(("state", "step"), sorted(set(product(State, Step)) - set(MOVES)))
def test_what_the_table_does_not_allow_is_refused(state: State, step: Step) -> None:
    with pytest.raises(Refused, match="cannot"):
        take(step, replace(SIGNED, state=state), by=APPROVER, now=NOW)


@pytest.mark.parametrize("step", sorted(set(Step) - {Step.VOID, Step.CONFIRM, Step.FAIL}))
def test_nothing_but_a_late_answer_revives_what_has_ended(step: Step) -> None:
    for state in set(State) - OPEN - {State.CLEARED, State.EXPOSED}:
        assert (state, step) not in MOVES


@pytest.mark.parametrize("state", sorted(OPEN))
def test_whatever_is_open_can_become_void(state: State) -> None:
    assert take(Step.VOID, replace(ASKED, state=state), by=None, now=NOW) is State.VOID


def test_who_asked_cannot_sign_off() -> None:
    assert "person who asked" in refused(Step.APPROVE, ASKED, HELPDESK)


@pytest.mark.parametrize(("step", "facts"), [(step, facts) for step, facts, _ in TOWARDS[1:]])
def test_a_sign_off_by_who_asked_is_none_at_any_later_step(step: Step, facts: Facts) -> None:
    assert "person who asked" in refused(
        step, replace(facts, signed_by=frozenset({HELPDESK})), None
    )


def test_the_devices_own_user_cannot_sign_off() -> None:
    assert "own user cannot sign off" in refused(Step.APPROVE, ASKED, OWNER)
    owned = replace(SIGNED, signed_by=frozenset({OWNER}))
    assert "own user cannot sign off" in refused(Step.ARM, owned, None)


def test_the_devices_own_user_cannot_have_asked() -> None:
    for step, facts, by in TOWARDS:
        assert "own user cannot ask" in refused(step, replace(facts, device_user=HELPDESK), by)


def test_a_device_of_nobody_can_be_cleared() -> None:
    for step, facts, by in TOWARDS:
        assert not list(obstacles(step, replace(facts, device_user=None), by=by, now=NOW))


def test_nobody_is_no_second_person() -> None:
    assert "Nobody signs" in refused(Step.APPROVE, ASKED, None)


@pytest.mark.parametrize(("step", "facts", "by"), TOWARDS)
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"device_is_lost": True}, "marked lost"),
        ({"token_kept": False}, "No unlock token"),
        ({"token_is_suspect": True}, "refused its unlock token"),
        ({"enrollment_is_active": False}, "no longer enrolled"),
        ({"has_lock_right": False}, "does not carry the right"),
        ({"in_our_hands": False}, "in our hands"),
        ({"expires_at": NOW}, "has run out"),
        ({"platform_refusals": ("This is a Mac.",)}, "This is a Mac."),
        ({"facts_changed": ("The user changed.",)}, "The user changed."),
    ],
)
def test_a19_a20_each_step_towards_an_open_device_asks_again(
    step: Step,
    facts: Facts,
    by: int | None,
    changed: dict[str, object],
    words: str,
) -> None:
    assert take(step, facts, by=by, now=NOW)
    assert words in refused(step, replace(facts, **changed), by)  # type: ignore[arg-type] # one field each


@pytest.mark.parametrize(("step", "facts"), [(step, facts) for step, facts, _ in TOWARDS[1:]])
@pytest.mark.parametrize(
    ("by", "until"),
    [({APPROVER}, NOW), ({APPROVER}, None), (set(), NOW + SECOND)],
)
def test_without_a_sign_off_in_force_nothing_goes_on(
    step: Step, facts: Facts, by: set[int], until: datetime | None
) -> None:
    unsigned = replace(facts, signed_by=frozenset(by), approved_until=until)
    assert "No sign-off is in force" in refused(step, unsigned, None)


def test_all_obstacles_are_told_at_once_each_with_its_next_step() -> None:
    worst = replace(
        SIGNED,
        device_is_lost=True,
        token_kept=False,
        enrollment_is_active=False,
        has_lock_right=False,
        in_our_hands=False,
        approved_until=None,
        expires_at=NOW,
    )
    told = list(obstacles(Step.ARM, worst, by=None, now=NOW))
    assert len(told) == 7
    assert all("Next:" in each for each in told)


@pytest.mark.parametrize("step", sorted(set(Step) - TOWARDS_AN_OPEN_DEVICE - {Step.REQUEST}))
def test_stopping_needs_no_condition(step: Step) -> None:
    lost = replace(SIGNED, device_is_lost=True, token_kept=False)
    late = NOW + timedelta(days=1)
    assert not list(obstacles(step, lost, by=HELPDESK, now=late))


def test_who_drafted_signs_and_for_a_device_that_can_be_cleared() -> None:
    draft = replace(SIGNED, state=State.DRAFT, in_our_hands=False)
    assert not list(obstacles(Step.REQUEST, draft, by=HELPDESK, now=NOW))
    assert list(obstacles(Step.REQUEST, draft, by=APPROVER, now=NOW))
    lost = replace(draft, device_is_lost=True)
    assert "marked lost" in " ".join(obstacles(Step.REQUEST, lost, by=HELPDESK, now=NOW))


def test_a19_a_device_that_can_be_cleared_has_no_obstacle() -> None:
    assert list(obstacles_to_ask(DEVICE, by=HELPDESK)) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(DEVICE, device_is_lost=True), "marked lost"),
        (replace(DEVICE, token_kept=False), "No unlock token"),
        (replace(DEVICE, token_is_suspect=True), "refused its unlock token"),
        (replace(DEVICE, enrollment_is_active=False), "no longer enrolled"),
        (replace(DEVICE, has_lock_right=False), "does not carry the right"),
        (replace(DEVICE, another_request_is_open=True), "Another request is open"),
        (replace(DEVICE, device_user=HELPDESK), "your own device"),
    ],
)
def test_a19_each_obstacle_alone_is_told_with_its_next_step(
    facts: DeviceFacts, words: str
) -> None:
    (told,) = obstacles_to_ask(facts, by=HELPDESK)
    assert words in told
    assert "Next:" in told


@pytest.mark.parametrize(
    ("platform", "shared", "own", "words"),
    [
        (Platform.MACOS, False, False, "A Mac"),
        (Platform.TVOS, False, False, "An Apple TV"),
        (Platform.UNKNOWN, False, False, "not known what kind"),
        (Platform.IPADOS, True, False, "A Shared iPad"),
        (Platform.IOS, False, True, "User Enrollment"),
    ],
)
def test_a19_some_kinds_of_device_cannot_be_cleared(
    platform: Platform,
    shared: bool,
    own: bool,
    words: str,
) -> None:
    (told,) = platform_refusals(platform=platform, shared_ipad=shared, user_enrollment=own)
    assert words in told
    assert told in list(obstacles_to_ask(replace(DEVICE, platform_refusals=(told,))))


@pytest.mark.parametrize(
    "platform", [Platform.IOS, Platform.IPADOS, Platform.WATCHOS, Platform.VISIONOS]
)
def test_others_can(platform: Platform) -> None:
    assert platform_refusals(platform=platform, shared_ipad=False, user_enrollment=False) == ()


@pytest.mark.parametrize(
    ("facts", "ends", "target"),
    [
        (ASKED, ASKED.expires_at, State.EXPIRED),
        (SIGNED, SIGNED.approved_until, State.EXPIRED),
        (replace(SIGNED, state=State.ARMED), SIGNED.approved_until, State.EXPIRED),
        (replace(SIGNED, state=State.SENT), SIGNED.approved_until, State.UNCONFIRMED),
    ],
)
def test_a_request_runs_out_in_its_time_and_not_before(
    facts: Facts, ends: datetime, target: State
) -> None:
    assert runs_out_at(facts) == ends
    assert take(Step.EXPIRE, facts, by=None, now=ends) is target
    assert "not run out" in refused(Step.EXPIRE, facts, None, ends - SECOND)


def test_a_sign_off_lasts_half_an_hour_and_never_longer_than_the_request() -> None:
    assert timedelta(minutes=30) == APPROVAL_LASTS < REQUEST_LASTS
    late, hour = NOW + REQUEST_LASTS, timedelta(hours=1)
    assert approved_until(NOW, expires_at=late, at_most=hour) == NOW + APPROVAL_LASTS
    assert approved_until(NOW, expires_at=NOW + SECOND, at_most=hour) == NOW + SECOND


def test_a_sign_off_outlasts_the_hold_and_not_what_the_rule_allows() -> None:
    late, hour, hold = NOW + REQUEST_LASTS, timedelta(hours=1), timedelta(minutes=20)
    assert approved_until(NOW, expires_at=late, at_most=hour, hold=hold) == (
        NOW + hold + APPROVAL_LASTS
    )
    assert approved_until(NOW, expires_at=late, at_most=2 * SECOND, hold=hold) == NOW + 2 * SECOND


# Two approvers, where the rule says so

SECOND_APPROVER = 4
NEEDS_TWO = replace(ASKED, signatures_needed=2)


def test_the_last_signature_that_is_missing_approves() -> None:
    assert step_of_a_yes(ASKED) is Step.APPROVE
    assert step_of_a_yes(NEEDS_TWO) is Step.SIGN
    assert take(Step.SIGN, NEEDS_TWO, by=APPROVER, now=NOW) is State.REQUESTED
    half = replace(NEEDS_TWO, signed_by=frozenset({APPROVER}), approved_until=NOW + SECOND)
    assert step_of_a_yes(half) is Step.APPROVE
    assert take(Step.APPROVE, half, by=SECOND_APPROVER, now=NOW) is State.APPROVED


def test_a_rule_that_has_become_stricter_lets_one_more_sign() -> None:
    approved = replace(SIGNED, signatures_needed=2)
    assert step_of_a_yes(approved) is Step.SIGN
    assert take(Step.SIGN, approved, by=SECOND_APPROVER, now=NOW) is State.APPROVED


def test_nobody_signs_twice() -> None:
    half = replace(NEEDS_TWO, signed_by=frozenset({APPROVER}), approved_until=NOW + SECOND)
    assert "signed it already" in refused(Step.APPROVE, half, APPROVER)


@pytest.mark.parametrize("wrong", [HELPDESK, OWNER])
def test_no_one_of_several_approvers_may_be_the_requester_or_the_user(wrong: int) -> None:
    both = replace(SIGNED, signed_by=frozenset({APPROVER, wrong}))
    assert "cannot sign off" in refused(Step.ARM, both, None)


def test_half_a_sign_off_runs_out_with_its_first_signature() -> None:
    half = replace(NEEDS_TWO, signed_by=frozenset({APPROVER}), approved_until=NOW + SECOND)
    assert runs_out_at(half) == NOW + SECOND


@pytest.mark.parametrize("state", [State.REQUESTED, State.APPROVED])
def test_one_denial_is_enough_until_the_vault_has_opened(state: State) -> None:
    assert take(Step.DENY, replace(SIGNED, state=state), by=9, now=NOW) is State.DENIED


def test_a_late_answer_is_believed() -> None:
    unanswered = replace(SIGNED, state=State.UNCONFIRMED)
    assert take(Step.CONFIRM, unanswered, by=None, now=NOW) is State.CLEARED
    assert take(Step.FAIL, unanswered, by=None, now=NOW) is State.FAILED


def test_what_became_void_on_its_way_may_still_have_cleared_the_device() -> None:
    void = replace(SIGNED, state=State.VOID, device_is_lost=True)
    assert take(Step.CONFIRM, replace(void, was_sent=True), by=None, now=NOW) is State.CLEARED
    assert "never sent" in refused(Step.CONFIRM, void, None)


def test_a_cleared_device_has_an_hour_before_it_counts_as_exposed() -> None:
    assert exposed_after(NOW) == NOW + timedelta(hours=1)
    assert exposed_after(NOW, timedelta(seconds=120)) == NOW + timedelta(seconds=120)
    cleared = replace(SIGNED, state=State.CLEARED, exposed_after=NOW + SECOND)
    assert "not over" in refused(Step.EXPOSE, cleared, None)
    assert take(Step.EXPOSE, cleared, by=None, now=NOW + SECOND) is State.EXPOSED


def test_a_cleared_device_is_asked_every_half_minute_and_an_exposed_one_less_often() -> None:
    assert look_again_at(State.CLEARED, looked_at=NOW) == NOW + timedelta(seconds=30)
    assert look_again_at(State.EXPOSED, looked_at=NOW) == NOW + timedelta(minutes=15)
    assert look_again_at(State.CLEARED, looked_at=NOW, hour=timedelta(minutes=2)) == NOW + SECOND


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLEARED, State.EXPOSED}))
def test_nobody_is_asked_without_a_clear(state: State) -> None:
    assert look_again_at(state, looked_at=NOW) is None


def test_every_state_and_reason_has_words() -> None:
    assert set(IN_WORDS) == set(State)
    assert set(REASONS_IN_WORDS) == set(Reason)
