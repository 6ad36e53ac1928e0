"""Attacks on the way from the vault to a device: commands nobody ordered, orders that point elsewhere
or come a second time. The door is honest; the rows before it are the attacker's.
"""

import plistlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from devices import door_key, sealing
from devices.models import Command, CustomCommand, Device
from devices.rules.secret import Secret
from passcodes import clearing, custody, custom_command, handover, signatures
from passcodes.models import ClearRequest, EscrowedToken, Handover
from passcodes.rules import statements
from tests import clears
from tests.attacks import (
    Copy,
    armed_by_sql,
    hears,
    says_not_lost,
    superuser,
    was_given_a_clear,
)
from tests.clears import Vault
from tests.house import House
from tests.simulator.phone import Phone

PASSCODE = "4471"
OWN_KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def phone(house: House) -> Phone:
    return house.enrolled_phone(passcode=PASSCODE)


def armed(house: House, vault: Vault, phone: Phone) -> ClearRequest:
    """Two people have signed, and the vault has handed over."""
    asked = clears.ask_for(phone, by=house.helpdesk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    request = clears.reread(asked)
    assert request.state == "armed"
    return request


def own_order(command: Command, request: ClearRequest, phone: Phone) -> Handover:
    """What the vault would make, signed by another key. Anybody can seal to the door."""
    return handover.pack(
        Secret(phone.unlock_token),
        command=command,
        request=request.pk,
        udid=phone.udid,
        identity=request.device.identity or "",
        until=clears.later(hours=1),
        order_key=OWN_KEY,
        door_key=sealing.public_key(settings.DOOR_PUBLIC_KEY),
    )


# T18: he knows a token of the phone, and wants it delivered.


def alone(_command: Command, _request: ClearRequest, _phone: Phone, _old: Handover) -> None:
    """A command without a hand-over."""


def signed_by_himself(
    command: Command, request: ClearRequest, phone: Phone, _old: Handover
) -> None:
    own_order(command, request, phone).save(force_insert=True)


def signed_long_ago(
    command: Command, _request: ClearRequest, _phone: Phone, old: Handover
) -> None:
    old.command = command
    old.save(force_insert=True)


def named_anew(command: Command, request: ClearRequest, _phone: Phone, old: Handover) -> None:
    """An old order with the numbers of this command in it, under its old signature."""
    said = statements.decode(bytes(old.order))
    said |= {"command": command.uuid.hex, "request": request.pk.hex}
    old.command, old.order = command, statements.encode(said)
    old.save(force_insert=True)


def under_the_old_number(
    command: Command, request: ClearRequest, _phone: Phone, old: Handover
) -> None:
    """The order fits again, but for the request that it was signed for."""
    superuser("UPDATE devices_command SET uuid = %s WHERE uuid = %s", old.command_id, command.uuid)
    superuser(
        "UPDATE passcodes_clearrequest SET command_id = %s WHERE id = %s",
        old.command_id,
        request.pk,
    )
    old.save(force_insert=True)


@pytest.mark.parametrize(
    "attack", [alone, signed_by_himself, signed_long_ago, named_anew, under_the_old_number]
)
def test_t18_a_clear_that_the_vault_did_not_order_is_not_delivered(
    house: House, vault: Vault, phone: Phone, attack: Callable[..., None]
) -> None:
    old = Handover.objects.get(command=armed(house, vault, phone).command)
    phone.connect()
    assert phone.passcode is None
    phone.user_sets_passcode(PASSCODE)
    for table in ("possession", "approval", "clearrequest"):
        superuser("DELETE FROM {table}", table=f"passcodes_{table}")
    superuser("DELETE FROM devices_command WHERE request_type = 'ClearPasscode'")

    heard = hears(phone)
    request, command = armed_by_sql(house.device(phone), asks=house.helpdesk, signs=house.approver)
    attack(command, request, phone, old)
    phone.connect()
    assert not was_given_a_clear(heard)
    assert phone.passcode == PASSCODE
    assert clears.reread(request).state == "failed"
    assert "clear.refused" in clears.traces(request.device)
    assert not Handover.objects.exists()


def test_t18_a_good_order_with_another_box_is_not_delivered(
    house: House, vault: Vault, phone: Phone
) -> None:
    heard = hears(phone)
    request = armed(house, vault, phone)
    good = Handover.objects.get()
    order = bytes(good.order)
    own = sealing.seal(
        Secret(phone.unlock_token),
        to=sealing.public_key(settings.DOOR_PUBLIC_KEY),
        context=statements.HANDOVER + order,
    )
    assert len(own) == len(bytes(good.box))
    superuser("UPDATE passcodes_handover SET box = %s", own)
    phone.connect()
    assert not was_given_a_clear(heard)
    assert clears.reread(request).state == "failed"
    assert not Handover.objects.exists()


@pytest.mark.parametrize(
    "request_type", ["Settings", "ClearPasscode", "clearPasscode", "DeviceLock"]
)
def test_t18_no_other_command_carries_a_token(
    house: House, phone: Phone, request_type: str
) -> None:
    """He seals a whole clear to the door's own key, as an expert's secret arguments."""
    heard = hears(phone)
    command = Command.objects.create(device=house.device(phone), request_type=request_type)
    whole = {"RequestType": "ClearPasscode", "UnlockToken": phone.unlock_token}
    key, box = door_key.seal(
        Secret(plistlib.dumps(whole)), context=custom_command.CONTEXT + command.uuid.bytes
    )
    CustomCommand.objects.create(command=command, by=house.admin, key=key, box=box)
    phone.connect()
    assert not was_given_a_clear(heard)
    assert phone.passcode == PASSCODE
    assert Command.objects.get(pk=command.pk).state == "cancelled"


# T19: a device of his own is enrolled, and should get what is meant for another.


@pytest.fixture
def both(house: House, phone: Phone) -> tuple[Phone, Phone]:
    """The victim's phone, and the attacker's own."""
    return phone, house.enrolled_phone(passcode="0000")


def points_the_command_at_it(request: ClearRequest, own: Device) -> None:
    superuser(
        "UPDATE devices_command SET device_id = %s WHERE uuid = %s", own.pk, request.command_id
    )


def points_the_request_at_it_as_well(request: ClearRequest, own: Device) -> None:
    points_the_command_at_it(request, own)
    own.refresh_from_db()
    superuser("UPDATE passcodes_escrowedtoken SET current = false")
    superuser(
        "UPDATE passcodes_escrowedtoken SET device_id = %s, enrollment = %s, identity = %s,"
        " current = true WHERE token = %s",
        own.pk,
        own.enrollment,
        own.identity,
        request.token_id,
    )
    superuser("UPDATE passcodes_clearrequest SET device_id = %s WHERE id = %s", own.pk, request.pk)
    agree(request)


def gives_it_the_identity(request: ClearRequest, own: Device) -> None:
    """The victim's row is pinned to the attacker's certificate now."""
    victim = request.device
    superuser("UPDATE devices_device SET identity = 'of nobody' WHERE id = %s", own.pk)
    superuser("UPDATE devices_device SET identity = %s WHERE id = %s", own.identity, victim.pk)
    superuser(
        "UPDATE passcodes_escrowedtoken SET identity = %s WHERE token = %s",
        own.identity,
        request.token_id,
    )
    agree(request)


def gives_it_the_name(request: ClearRequest, own: Device) -> None:
    """The attacker's row bears the victim's UDID, and all that is the victim's hangs on it."""
    points_the_request_at_it_as_well(request, own)
    udid = request.device.udid
    superuser("UPDATE devices_device SET udid = 'of nobody' WHERE id = %s", request.device_id)
    superuser("UPDATE devices_device SET udid = %s WHERE id = %s", udid, own.pk)
    agree(request)


def agree(request: ClearRequest) -> None:
    """No row of the request knows that anything was ever otherwise."""
    request = clears.reread(request)
    says_not_lost(request.device)
    token = EscrowedToken.objects.get(pk=request.token_id)
    seen = signatures.seen(request.device, token)
    ClearRequest.objects.filter(pk=request.pk).update(snapshot=seen)
    request.approvals.update(facts=seen)


@pytest.mark.parametrize("speaks_as", ["itself", "the victim"])
@pytest.mark.parametrize(
    "attack",
    [
        points_the_command_at_it,
        points_the_request_at_it_as_well,
        gives_it_the_identity,
        gives_it_the_name,
    ],
)
def test_t19_a_device_of_his_own_gets_nothing_that_is_anothers(
    house: House,
    vault: Vault,
    both: tuple[Phone, Phone],
    attack: Callable[..., None],
    speaks_as: str,
) -> None:
    phone, own = both
    request = armed(house, vault, phone)
    attack(request, house.device(own))
    heard = hears(own)
    if speaks_as == "the victim":
        own.udid = phone.udid
    own.connect()
    own.idle(UDID=phone.udid)
    assert not was_given_a_clear(heard)
    assert not in_any(heard, phone.unlock_token)
    assert own.passcode == "0000"


def test_t19_a_device_of_his_own_that_enrolls_under_the_victims_name_gets_nothing(
    house: House, vault: Vault, phone: Phone
) -> None:
    request = armed(house, vault, phone)
    kept = Copy.of(
        request,
        clears.command_of(request),
        Handover.objects.get(),
        EscrowedToken.objects.get(pk=request.token_id),
    )
    own = house.phone(passcode="0000")
    own.udid = phone.udid
    house.give_profile(own)
    heard = hears(own)
    own.enroll()
    own.connect()
    assert clears.reread(request).state == "void"  # an enrollment ends what was open
    device = house.device(own)
    superuser("UPDATE passcodes_escrowedtoken SET current = false")
    kept.put_back(enrollment=str(device.enrollment))
    superuser("UPDATE passcodes_escrowedtoken SET identity = %s WHERE current", device.identity)
    agree(request)
    own.connect()
    assert clears.reread(request).state == "failed"
    assert not was_given_a_clear(heard)
    assert not in_any(heard, phone.unlock_token)
    assert own.passcode == "0000"


def in_any(heard: list[bytes], token: bytes) -> bool:
    """Whether a token is in an answer, in whatever way a property list writes it."""
    return any(_holds(plistlib.loads(body), token) for body in heard if body[:5] == b"<?xml")


def _holds(value: Any, token: bytes) -> bool:
    if isinstance(value, dict):
        return any(_holds(one, token) for one in value.values())
    if isinstance(value, list):
        return any(_holds(one, token) for one in value)
    return isinstance(value, bytes) and token in value


# T20: what was ordered once comes a second time.


def answered(_house: House, phone: Phone, _request: ClearRequest) -> None:
    phone.connect()
    assert phone.passcode is None
    phone.user_sets_passcode(PASSCODE)


def refused_by_the_device(_house: House, phone: Phone, _request: ClearRequest) -> None:
    token = phone.unlock_token
    phone.new_unlock_token()  # the house is not told
    phone.connect()
    phone.unlock_token = token


def refused_by_the_door(house: House, phone: Phone, request: ClearRequest) -> None:
    superuser("UPDATE devices_device SET lost_at = now() WHERE id = %s", request.device_id)
    phone.connect()
    superuser("UPDATE devices_device SET lost_at = NULL WHERE id = %s", request.device_id)


def run_out(house: House, _phone: Phone, _request: ClearRequest) -> None:
    house.clock.forward(minutes=31)
    house.tick()


def enrolled_anew(house: House, phone: Phone, _request: ClearRequest) -> None:
    phone.user_removes_profile()
    house.give_profile(phone)
    phone.enroll()


def stopped(house: House, _phone: Phone, request: ClearRequest) -> None:
    clearing.cancel(request.pk, by=house.helpdesk)


def lost(house: House, _phone: Phone, request: ClearRequest) -> None:
    custody.mark_lost(request.device_id, note="Left in a train.", by=house.helpdesk)


def copied(request: ClearRequest, *others: Handover) -> Copy:
    """Every row of a clear while it is good."""
    command = clears.command_of(request)
    return Copy.of(request, command, request.token, request.device, *others)


def put_back(house: House, phone: Phone, request: ClearRequest, kept: Copy) -> None:
    """And no row knows that anything was ever otherwise."""
    superuser("UPDATE passcodes_escrowedtoken SET current = false")
    kept.put_back()
    digest = phone.certificate.fingerprint(hashes.SHA256()).hex()
    superuser("UPDATE devices_device SET identity = %s WHERE id = %s", digest, request.device_id)
    superuser("UPDATE passcodes_escrowedtoken SET identity = %s WHERE current", digest)
    agree(request)


def is_not_delivered(house: House, phone: Phone, request: ClearRequest) -> None:
    heard = hears(phone)
    for _ in range(3):
        phone.connect()
        house.clock.forward(seconds=20)
    assert not was_given_a_clear(heard)
    assert phone.passcode == PASSCODE
    house.tick()
    assert clears.reread(request).state not in {"armed", "sent", "cleared"}
    assert not Handover.objects.exists()


@pytest.mark.parametrize(
    "end", [answered, refused_by_the_device, refused_by_the_door, run_out, enrolled_anew]
)
def test_t20_an_order_that_has_ended_is_not_delivered_again(
    house: House, vault: Vault, phone: Phone, end: Callable[..., None]
) -> None:
    """He has copied all rows of it, the hand-over as well, and puts them back."""
    request = armed(house, vault, phone)
    kept = copied(request, Handover.objects.get())
    end(house, phone, request)
    assert clears.reread(request).state not in {"armed", "sent"}
    assert not Handover.objects.exists()
    put_back(house, phone, request, kept)
    is_not_delivered(house, phone, request)


@pytest.mark.parametrize("end", [stopped, lost])
def test_t20_what_was_stopped_has_no_hand_over_any_more(
    house: House, vault: Vault, phone: Phone, end: Callable[..., None]
) -> None:
    request = armed(house, vault, phone)
    kept = copied(request)
    end(house, phone, request)
    assert not Handover.objects.exists()
    put_back(house, phone, request, kept)
    is_not_delivered(house, phone, request)


@pytest.mark.parametrize("end", [stopped, lost])
def test_t20_a_copied_hand_over_of_what_was_stopped_ends_with_the_sign_off(
    house: House, vault: Vault, phone: Phone, end: Callable[..., None]
) -> None:
    """Until then it is what the two have signed; docs/threat-model.md says so."""
    request = armed(house, vault, phone)
    kept = copied(request, Handover.objects.get())
    end(house, phone, request)
    house.clock.forward(minutes=31)
    put_back(house, phone, request, kept)
    superuser("UPDATE passcodes_approval SET until = now() + interval '2 hours'")
    superuser("UPDATE passcodes_clearrequest SET expires_at = now() + interval '2 hours'")
    is_not_delivered(house, phone, request)
