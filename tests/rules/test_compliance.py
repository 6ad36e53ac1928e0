"""Three flags, one verdict."""

from itertools import product

import pytest

from passcodes.rules.compliance import PasscodeFacts, Verdict, judge

FLAGS = (True, False, None)


@pytest.mark.parametrize(("present", "compliant", "profiles"), list(product(FLAGS, FLAGS, FLAGS)))
def test_only_three_times_yes_is_compliant(
    present: bool | None, compliant: bool | None, profiles: bool | None
) -> None:
    said = (present, compliant, profiles)
    verdict = judge(PasscodeFacts(*said), user_enrollment=False)
    if False in said:
        assert verdict is Verdict.NOT_COMPLIANT
    elif None in said:
        assert verdict is Verdict.UNKNOWN
    else:
        assert verdict is Verdict.COMPLIANT


def test_a17_no_passcode_is_not_compliant_although_both_flags_say_so() -> None:
    facts = PasscodeFacts(present=False, compliant=True, compliant_with_profiles=True)
    assert judge(facts, user_enrollment=False) is Verdict.NOT_COMPLIANT


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        (PasscodeFacts(compliant=True), Verdict.COMPLIANT),
        (PasscodeFacts(compliant=False), Verdict.NOT_COMPLIANT),
        (PasscodeFacts(), Verdict.UNKNOWN),
        (PasscodeFacts(present=True), Verdict.UNKNOWN),
        (PasscodeFacts(present=False, compliant=True), Verdict.NOT_COMPLIANT),
    ],
)
def test_a_users_own_device_speaks_by_one_flag(facts: PasscodeFacts, verdict: Verdict) -> None:
    assert judge(facts, user_enrollment=True) is verdict


def test_silence_is_unknown() -> None:
    assert judge(None, user_enrollment=False) is Verdict.UNKNOWN
    assert judge(None, user_enrollment=True) is Verdict.UNKNOWN
