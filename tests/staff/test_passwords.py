"""A deed that cannot be undone asks for the password each time."""

import pytest
from django.core.cache import cache

from devices.models import AuditEntry
from staff.models import User
from staff.passwords import TRIES, confirm
from staff.permissions import Forbidden

pytestmark = pytest.mark.django_db


@pytest.fixture
def approver() -> User:
    cache.clear()
    return User.objects.create_user("approver", password="correct horse 7")


def test_the_right_password_passes(approver: User) -> None:
    confirm(approver, "correct horse 7", deed="clear.approve")
    assert not AuditEntry.objects.exists()


def test_a_wrong_password_is_refused_and_audited(approver: User) -> None:
    with pytest.raises(Forbidden, match="not your password"):
        confirm(approver, "a guess", deed="clear.approve")
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.actor) == ("staff.password_refused", approver)
    assert "a guess" not in str(entry.facts)


def test_after_five_wrong_ones_even_the_right_one_has_to_wait(approver: User) -> None:
    for _ in range(TRIES):
        with pytest.raises(Forbidden):
            confirm(approver, "a guess", deed="clear.approve")
    with pytest.raises(Forbidden, match="ten minutes"):
        confirm(approver, "correct horse 7", deed="clear.approve")
