"""Bootstrap tokens at the door: kept for the Mac that left them, given back to it, and to nobody else."""

import logging
import plistlib

import pytest
from django.conf import settings
from django.test import override_settings

from devices import sealing
from devices.models import AuditEntry, BootstrapToken
from devices.rules.secret import Secret
from tests.house import House
from tests.macs import enrolled_mac


def test_a_mac_gets_back_what_it_left(house: House) -> None:
    mac = enrolled_mac(house)

    response = mac.escrow_bootstrap_token()

    assert (response.status, response.body) == (200, b"")
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token
    assert house.audit(mac)[-2:] == ["bootstrap.kept", "bootstrap.given"]


def test_without_one_the_answer_is_empty(house: House) -> None:
    mac = enrolled_mac(house)

    response = mac.check_in("GetBootstrapToken", AwaitingConfiguration=True)

    assert (response.status, response.body) == (200, b"")


def test_a_new_one_takes_the_place_of_the_old(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    mac.bootstrap_token = b"another"
    mac.escrow_bootstrap_token()

    assert mac.fetch_bootstrap_token() == b"another"


@pytest.mark.parametrize("empty", [None, b""])
def test_an_empty_one_deletes(house: House, empty: bytes | None) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()

    assert mac.escrow_bootstrap_token(BootstrapToken=empty).status == 200

    assert mac.fetch_bootstrap_token() is None
    assert "bootstrap.forgotten" in house.audit(mac)


def test_another_mac_gets_nothing_of_it(house: House) -> None:
    mac, other = enrolled_mac(house), enrolled_mac(house)
    mac.escrow_bootstrap_token()

    assert other.fetch_bootstrap_token() is None
    assert other.check_in("GetBootstrapToken", UDID=mac.udid).status == 403
    assert other.escrow_bootstrap_token(UDID=mac.udid, BootstrapToken=None).status == 403
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token


def test_a_row_that_was_moved_to_another_mac_does_not_open(house: House) -> None:
    mac, other = enrolled_mac(house), enrolled_mac(house)
    mac.escrow_bootstrap_token()
    BootstrapToken.objects.update(device=house.device(other))

    response = other.check_in("GetBootstrapToken")

    assert (response.status, response.body) == (200, b"")
    assert "bootstrap.not_opened" in house.audit(other)


def test_it_ends_where_a_new_enrollment_begins(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    house.give_profile(mac)

    mac.enroll()

    assert mac.fetch_bootstrap_token() is None
    assert not BootstrapToken.objects.exists()


def test_it_ends_where_the_mac_leaves(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()

    mac.check_out()

    assert not BootstrapToken.objects.exists()
    assert mac.check_in("GetBootstrapToken").status == 403


def test_it_is_sealed_to_the_door_and_never_to_the_vault(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    kept = BootstrapToken.objects.get()
    door, vault = (
        sealing.key_id(sealing.public_key(key))
        for key in (settings.DOOR_PUBLIC_KEY, settings.VAULT_PUBLIC_KEY)
    )

    assert (kept.key, bytes(kept.box)[2:10].hex()) == (door, door)
    assert kept.key != vault
    assert mac.bootstrap_token not in bytes(kept.box)


def test_a_process_without_the_doors_key_promises_nothing_and_says_why(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    mac = enrolled_mac(house)
    with override_settings(DOOR_PRIVATE_KEY=""):
        assert mac.escrow_bootstrap_token().status == 400
        response = mac.check_in("GetBootstrapToken")
        assert mac.delete_bootstrap_token().status == 200

    assert (response.status, response.body) == (200, b"")
    assert not BootstrapToken.objects.exists()
    assert caplog.text.count("does not hold DOOR_PRIVATE_KEY") == 2


def test_after_the_doors_key_was_changed_it_does_not_open(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    with override_settings(DOOR_PRIVATE_KEY="A" * 43 + "="):
        response = mac.check_in("GetBootstrapToken")

    assert (response.status, response.body) == (200, b"")
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token


def test_neither_log_nor_audit_holds_it(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mac = enrolled_mac(house)
    mac.bootstrap_token = b"open sesame"
    mac.escrow_bootstrap_token()
    mac.fetch_bootstrap_token()

    assert "sesame" not in caplog.text
    assert "sesame" not in str(list(AuditEntry.objects.values()))
    assert "sesame" not in repr(Secret(mac.bootstrap_token))


@pytest.mark.parametrize("message", ["SetBootstrapToken", "GetBootstrapToken"])
def test_a_user_has_none(house: House, message: str) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()
    anna = mac.add_user("anna")
    anna.log_in()

    assert anna.check_in(message).status == 400
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token


@pytest.mark.parametrize("token", ["a string", 7, True, ["x"]])
def test_what_is_no_token_is_malformed(house: House, token: object) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()

    assert mac.escrow_bootstrap_token(BootstrapToken=token).status == 400
    assert mac.fetch_bootstrap_token() == mac.bootstrap_token


def test_the_answer_is_one_property_list(house: House) -> None:
    mac = enrolled_mac(house)
    mac.escrow_bootstrap_token()

    response = mac.check_in("GetBootstrapToken")

    assert plistlib.loads(response.body) == {"BootstrapToken": mac.bootstrap_token}
    assert response.headers["content-type"].startswith("application/xml")
