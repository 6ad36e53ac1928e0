"""Which devices have Lost Mode, how fresh their word must be, and their errors in words."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.rules.channels import Platform
from passcodes.rules.lost_mode import ANSWER_LASTS, in_words, is_fresh, unable

NOW = datetime(2025, 11, 16, 18, 40, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("platform", "supervised", "user_enrollment", "why"),
    [
        (Platform.IOS, True, False, None),
        (Platform.IPADOS, None, False, None),  # it has not told: it may be asked
        (Platform.IOS, False, False, "not supervised"),
        (Platform.IOS, True, True, "personal device"),
        (Platform.MACOS, True, False, "no Lost Mode on a Mac"),
        (Platform.UNKNOWN, True, False, "unknown kind"),
    ],
)
def test_supervised_iphones_and_ipads_have_lost_mode(
    platform: Platform, supervised: bool | None, user_enrollment: bool, why: str | None
) -> None:
    refused = unable(platform=platform, supervised=supervised, user_enrollment=user_enrollment)
    assert (refused is None) is (why is None)
    assert (why or "") in (refused or "")


def test_its_word_counts_if_asked_after_the_arming_and_just_now() -> None:
    assert is_fresh(NOW, armed_at=NOW, now=NOW)
    assert is_fresh(NOW, armed_at=NOW, now=NOW + ANSWER_LASTS)
    assert not is_fresh(NOW, armed_at=NOW, now=NOW + ANSWER_LASTS + SECOND)
    assert not is_fresh(NOW - SECOND, armed_at=NOW, now=NOW)
    assert not is_fresh(None, armed_at=NOW, now=NOW)
    assert not is_fresh(NOW, armed_at=None, now=NOW)


def test_errors_are_said_in_words() -> None:
    apples = {"ErrorDomain": "MCMDMErrorDomain", "ErrorCode": 12066, "LocalizedDescription": "No."}
    assert in_words([apples]) == (
        "The device could not switch Lost Mode on. (MCMDMErrorDomain 12066)"
    )
    strange = {"ErrorDomain": "Other", "ErrorCode": 12066, "LocalizedDescription": "Busy."}
    assert in_words([strange]) == "Busy. (Other 12066)"
    assert "gave no reason" in in_words([])
    assert "No words" in in_words([{}])
