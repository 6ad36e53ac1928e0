"""A retired token stays sealed for the time that is set; then its box is gone, and that is told."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from devices.models import Device
from devices.rules.secret import Secret
from passcodes import escrow, shredding
from passcodes.models import EscrowedToken, TokenBox
from passcodes.models.escrow import TokenState
from tests import clears

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone(settings: Settings) -> Device:
    """It has sent two tokens: the first is retired."""
    settings.TOKENS_KEPT_DAYS = 30
    made = clears.with_token()
    escrow.keep(made, Secret(clears.TOKEN), certificate_digest=clears.IDENTITY)
    return made


def retired_ago(days: int) -> None:
    retired = EscrowedToken.objects.filter(state=TokenState.RETIRED)
    assert retired.update(retired_at=timezone.now() - timedelta(days=days, minutes=1))


def test_before_its_time_it_stays(phone: Device) -> None:
    retired_ago(days=29)
    assert shredding.shred_due() == 0
    assert TokenBox.objects.count() == 2


def test_after_its_time_the_box_is_gone_and_the_current_one_stays(phone: Device) -> None:
    retired_ago(days=30)
    assert shredding.shred_due() == 1
    [box] = TokenBox.objects.select_related("token")
    assert box.token.current
    assert set(phone.tokens.values_list("state", flat=True)) == {"kept", "shredded"}
    assert clears.traces(phone, "escrow.shredded") == ["escrow.shredded"]


def test_it_is_shredded_once(phone: Device) -> None:
    retired_ago(days=90)
    shredding.shred_due()
    assert shredding.shred_due() == 0
    assert clears.traces(phone, "escrow.shredded") == ["escrow.shredded"]


def test_more_than_a_batch_go_in_one_turn(phone: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shredding, "BATCH", 2)
    for _ in range(4):
        escrow.keep(phone, Secret(clears.TOKEN), certificate_digest=clears.IDENTITY)
    retired_ago(days=31)
    assert shredding.shred_due() == 5
    assert TokenBox.objects.count() == 1
