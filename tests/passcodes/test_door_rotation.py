"""A new key for the door: what lies sealed to the former one still serves, and is sealed anew."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.test import override_settings

from devices import door_key, logins, sealing
from devices.models import (
    AuditEntry,
    BootstrapToken,
    Command,
    CustomCommand,
    DoorKey,
    NetworkUser,
)
from devices.rules.secret import Secret
from passcodes import custom_command, door_rotation
from passcodes.door_rotation import KINDS
from tests import clears
from tests.house import House
from tests.macs import enrolled_mac
from tests.simulator.users import Mac, User

REALM = "Example Org"
PASSWORD = "sesame 7"
FORMER = sealing.key_id(sealing.private_key(settings.DOOR_PRIVATE_KEY).public_key())


@contextmanager
def new_key(*, keeps_former: bool = True, everywhere: bool = True) -> Iterator[str]:
    """The door is started with a new key; its id. The others get the public half, or not yet."""
    key = X25519PrivateKey.generate()
    public = sealing.written(key.public_key().public_bytes_raw())
    with override_settings(
        DOOR_PRIVATE_KEY=sealing.written(key.private_bytes_raw()),
        DOOR_FORMER_KEY=settings.DOOR_PRIVATE_KEY if keeps_former else "",
        DOOR_PUBLIC_KEY=public if everywhere else settings.DOOR_PUBLIC_KEY,
    ):
        yield sealing.key_id(key.public_key())


@contextmanager
def without_the_former() -> Iterator[None]:
    with override_settings(DOOR_FORMER_KEY=""):
        yield


@pytest.fixture
def mac(house: House) -> Mac:
    """It has left its bootstrap token."""
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    return mac


@pytest.fixture
def nora(mac: Mac) -> Iterator[User]:
    with override_settings(NETWORK_USERS="digest", NETWORK_USERS_REALM=REALM):
        logins.keep_password("nora", Secret(PASSWORD.encode()), realm=REALM)
        yield mac.add_user("nora", network=True, password=PASSWORD)


def with_a_pin(house: House, mac: Mac) -> CustomCommand:
    """An expert's command whose PIN waits, sealed, for the Mac."""
    return custom_command.send(
        house.device(mac).pk,
        request_type="DeviceLock",
        text='{"PIN": "483921"}',
        by=house.admin,
    )


def keys() -> set[str]:
    """The ids of all keys that something is sealed to."""
    return {key for kind in KINDS for key in kind.rows().values_list("key", flat=True)} - {""}


def test_while_the_door_holds_both_keys_everything_still_opens(
    house: House, mac: Mac, nora: User
) -> None:
    with new_key():
        assert mac.fetch_bootstrap_token() == mac.bootstrap_token
        assert nora.log_in() is True


def test_everything_is_sealed_anew_and_serves_without_the_former_key(
    house: House, mac: Mac, nora: User
) -> None:
    custom = with_a_pin(house, mac)
    assert keys() == {FORMER}
    with new_key() as key:
        counts = door_rotation.rotate()
        assert [(count.resealed, count.not_opened, count.left) for count in counts] == [
            (1, 0, 0)
        ] * 3
        assert keys() == {key}
        with without_the_former():
            assert mac.fetch_bootstrap_token() == mac.bootstrap_token
            assert nora.log_in() is True
            waiting = Command.objects.get(pk=custom.pk)
            assert custom_command.arguments(waiting)["PIN"] == "483921"
    told = AuditEntry.objects.filter(verb="door.resealed").values_list("facts__boxes", flat=True)
    assert list(told) == [1, 1, 1]


def test_what_was_sealed_anew_the_former_key_does_not_open(house: House, mac: Mac) -> None:
    with new_key():
        door_rotation.rotate()
    assert mac.fetch_bootstrap_token() is None  # the door as it was before


def test_it_may_be_repeated_and_then_does_nothing(house: House, mac: Mac) -> None:
    with new_key() as key:
        door_rotation.rotate()
        boxes = [bytes(kept.box) for kept in BootstrapToken.objects.all()]
        since = DoorKey.objects.get(key=key).since
        house.clock.forward(minutes=5)
        assert sum(count.resealed for count in door_rotation.rotate()) == 0
        assert [bytes(kept.box) for kept in BootstrapToken.objects.all()] == boxes
        assert DoorKey.objects.get(key=key).since == since


def test_what_opens_with_no_key_that_is_here_stays_as_it_is(house: House, mac: Mac) -> None:
    before = bytes(BootstrapToken.objects.get().box)
    with new_key(keeps_former=False):
        counts = door_rotation.rotate()
        assert [(one.not_opened, one.left) for one in counts] == [(1, 1), (0, 0), (0, 0)]
    assert bytes(BootstrapToken.objects.get().box) == before
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token


def test_a_token_that_came_meanwhile_is_not_overwritten(house: House, mac: Mac) -> None:
    [bootstrap_tokens, *_] = KINDS
    with new_key() as key:
        read_before = list(bootstrap_tokens.sealed_otherwise(key).select_related("device"))
        mac.bootstrap_token = b"another"
        mac.escrow_bootstrap_token()
        assert door_rotation._seal_anew(bootstrap_tokens, key, read_before) == (0, 0)
        assert mac.fetch_bootstrap_token() == b"another"


def test_what_is_sealed_to_the_former_key_after_the_rotation_is_found_by_the_next(
    house: House,
) -> None:
    with new_key(everywhere=False) as key:
        door_rotation.rotate()
        with override_settings(DOOR_PRIVATE_KEY=""):  # the staff site, which nobody has told
            logins.keep_password("nora", Secret(b"x"), realm=REALM)
        assert NetworkUser.objects.get().key == FORMER
        standing = door_rotation.standing()
        assert standing is not None
        assert (standing.key, standing.left) == (key, 1)
        door_rotation.rotate()
        assert NetworkUser.objects.get().key == key


def test_what_every_page_asks_is_one_question(
    house: House, mac: Mac, nora: User, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with_a_pin(house, mac)
    with new_key():
        door_key.note()
        with django_assert_num_queries(1):
            standing = door_rotation.standing()
    assert standing is not None
    assert standing.left == 3


# What the vault has handed over.


@pytest.mark.parametrize("rotates", [False, True])
def test_a_clear_under_way_to_the_former_key_arrives(house: House, *, rotates: bool) -> None:
    phone = house.enrolled_phone(passcode="1234")
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    house.vault()
    with new_key():
        if rotates:
            door_rotation.rotate()
            assert door_rotation.handed_over_otherwise() == 1
        phone.connect()
        assert clears.reread(asked).state == "cleared"
        assert door_rotation.handed_over_otherwise() == 0


def test_a_clear_under_way_to_a_key_that_is_gone_fails_in_words_and_opens_nothing(
    house: House,
) -> None:
    phone = house.enrolled_phone(passcode="1234")
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    house.vault()
    with new_key(keeps_former=False):
        done = phone.connect()
    ended = clears.reread(asked)
    assert ended.state == "failed"
    assert "the door's key has been changed. Next: ask again." in ended.ended_because
    assert "ClearPasscode" not in [one.request_type for one in done]
    assert phone.passcode == "1234"
    assert door_rotation.handed_over_otherwise() == 0  # no order outlives its request


def test_a_new_clear_after_that_goes_its_way(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    with new_key():
        asked = clears.ask_for(phone, by=house.helpdesk)
        clears.approve(asked.pk, by=house.approver)
        house.vault()
        with without_the_former():
            phone.connect()
    assert clears.reread(asked).state == "cleared"


# Its age.


def test_the_age_of_a_key_counts_from_when_the_door_first_had_it(house: House) -> None:
    assert door_rotation.standing() is None
    door_rotation.rotate()
    first = door_rotation.standing()
    assert first is not None
    assert (first.key, first.is_overdue) == (FORMER, False)
    house.clock.forward(days=9)
    assert door_rotation.rotate()
    now = door_rotation.standing()
    assert now is not None
    assert now.is_overdue
    with new_key() as key:
        door_rotation.rotate()
        fresh = door_rotation.standing()
    assert fresh is not None
    assert (fresh.key, fresh.is_overdue) == (key, False)
    assert door_rotation.former_is_free_at() == fresh.since + timedelta(hours=1)
    door_rotation.rotate()  # back to the first one: it is in use since now
    back = door_rotation.standing()
    assert back is not None
    assert (back.key, back.is_overdue) == (FORMER, False)


def test_no_row_decides_which_key_is_sealed_to(house: House, mac: Mac) -> None:
    DoorKey.objects.create(key="0" * 16, since=house.clock.forward(days=1))
    mac.escrow_bootstrap_token()
    assert BootstrapToken.objects.get().key == FORMER == door_key.present_id()
