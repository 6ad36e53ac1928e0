"""Attacks on what rows say of devices and keys: boxes, names, facts and settings that somebody rewrote.

Phones are real ones before the real door, the vault is the real one, and people sign what they are shown.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings

from devices import sealing
from devices.models import AuditEntry, Device
from passcodes import escrow, handover, signatures, vault_says
from passcodes.models import (
    ClearRequest,
    EscrowedToken,
    Handover,
    TokenBox,
    VaultSays,
)
from passcodes.rules import statements
from tests import clears
from tests.attacks import (
    hears,
    nothing_is_handed_over,
    opens,
    superuser,
    swap,
    was_given_a_clear,
)
from tests.authenticator import Passkey
from tests.clears import Vault
from tests.house import House
from tests.simulator.phone import Phone

PASSCODE = "4471"


@pytest.fixture
def pair(house: House) -> tuple[Phone, Phone]:
    return house.enrolled_phone(passcode=PASSCODE), house.enrolled_phone("ipad", passcode=PASSCODE)


def tokens(*devices: Device) -> list[EscrowedToken]:
    return [device.tokens.get(current=True) for device in devices]


# T2


def swaps_boxes(one: Device, other: Device) -> None:
    swap(TokenBox, "box", *(token.pk for token in tokens(one, other)))


def swaps_udids(one: Device, other: Device) -> None:
    """In both tables: no row knows any more that it was otherwise."""
    swap(EscrowedToken, "udid", *(token.pk for token in tokens(one, other)))
    swap(Device, "udid", one.pk, other.pk)


def swaps_identities(one: Device, other: Device) -> None:
    swap(EscrowedToken, "identity", *(token.pk for token in tokens(one, other)))
    swap(Device, "identity", one.pk, other.pk)


def swaps_tokens(one: Device, other: Device) -> None:
    """The whole row of the other's token, with this one's names in it."""
    mine, theirs = tokens(one, other)
    names = "udid serial model identity enrollment device_id"
    swap(EscrowedToken, names, mine.pk, theirs.pk)


SWAPS = (swaps_boxes, swaps_udids, swaps_identities, swaps_tokens)


@pytest.mark.parametrize("attack", SWAPS)
def test_t2_what_is_swapped_before_two_people_sign_does_not_open(
    house: House, vault: Vault, pair: tuple[Phone, Phone], attack: Callable[..., None]
) -> None:
    ears = [hears(phone) for phone in pair]
    one, other = (house.device(phone) for phone in pair)
    attack(one, other)
    for device in Device.objects.filter(pk__in=[one.pk, other.pk]):
        clears.signed(house, device)
    vault.tick()
    ends(vault, pair, ears)


@pytest.mark.parametrize("attack", SWAPS)
def test_t2_what_is_swapped_after_two_people_signed_does_not_open(
    house: House, vault: Vault, pair: tuple[Phone, Phone], attack: Callable[..., None]
) -> None:
    ears = [hears(phone) for phone in pair]
    one, other = (house.device(phone) for phone in pair)
    for device in (one, other):
        clears.signed(house, device)
    attack(one, other)
    for request in ClearRequest.objects.all():  # and nobody shall find a changed fact in rows
        now = signatures.seen(request.device, escrow.current(request.device))
        superuser(
            "UPDATE passcodes_clearrequest SET snapshot = %s, token_id = %s WHERE id = %s",
            json.dumps(now),
            now["token"],
            request.pk,
        )
        superuser("UPDATE passcodes_approval SET facts = %s", json.dumps(now))
    vault.tick()
    ends(vault, pair, ears)


def test_t2_the_other_s_token_that_bears_this_one_s_serial_and_model_does_not_open(
    house: House, vault: Vault, pair: tuple[Phone, Phone]
) -> None:
    """Two people sign for the device in their hands, and the row behind its name is another's."""
    ears = [hears(phone) for phone in pair]
    mine, theirs = (house.device(phone) for phone in pair)
    for change, whose in (
        ("UPDATE passcodes_escrowedtoken SET serial = %s, model = %s", "WHERE device_id = %s"),
        ("UPDATE devices_device SET serial = %s, product_name = %s", "WHERE id = %s"),
    ):
        superuser(f"{change} {whose}", mine.serial, mine.product_name, theirs.pk)
    theirs.refresh_from_db()
    request = clears.signed(house, theirs)
    said = statements.read(signatures.the_ask(request))["devices"][0]
    assert (said["serial"], said["model"]) == (mine.serial, mine.product_name)
    vault.tick()
    ends(vault, pair, ears)
    assert "does not open" in clears.reread(request).ended_because


def ends(vault: Vault, phones: tuple[Phone, Phone], ears: list[list[bytes]]) -> None:
    """It failed, that is written down, and neither device is sent anything."""
    requests = list(ClearRequest.objects.all())
    assert requests
    for request in requests:
        assert request.state in {"failed", "void"}
        assert request.ended_because
        assert clears.traces(request.device)[-1] in {"clear.fail", "clear.void"}
    assert nothing_is_handed_over()
    assert "handed" not in vault.said()
    for phone in phones:
        phone.connect()
        assert phone.passcode == PASSCODE
    assert not any(map(was_given_a_clear, ears))
    vault.tick()  # and nothing is tried again
    assert nothing_is_handed_over()


# T16


def agrees(device: Device, request: ClearRequest) -> None:
    """Every row says that it was so when people asked and signed; only what they signed does not."""
    device = Device.objects.get(pk=device.pk)
    now = json.dumps(signatures.seen(device, escrow.current(device)))
    superuser("UPDATE passcodes_approval SET facts = %s WHERE request_id = %s", now, request.pk)
    superuser("UPDATE passcodes_clearrequest SET snapshot = %s WHERE id = %s", now, request.pk)


CHANGES: dict[str, tuple[str, str]] = {
    "owner": ("UPDATE devices_device SET user_name = 'somebody.else'", "belongs to somebody else"),
    "owner, by name": (
        "UPDATE devices_device SET assigned_to_id = (SELECT min(id) FROM staff_user)",
        "belongs to somebody else",
    ),
    "system": ("UPDATE devices_device SET os_version = '12.0'", "system has changed"),
    "token": (
        "UPDATE passcodes_escrowedtoken SET received_at = received_at - interval '1 day'",
        "sent another unlock token",
    ),
    "last seen": (
        "UPDATE devices_device SET last_seen_at = last_seen_at - interval '5 minutes'",
        "last contact with the device has changed",
    ),
    "never seen": (
        "UPDATE devices_device SET last_seen_at = NULL",
        "last contact with the device has changed",
    ),
    "lost": ("UPDATE devices_device SET lost_at = now()", "lost"),
    "udid": ("UPDATE devices_device SET udid = 'another'", "(UDID|device is not the one)"),
}


@pytest.mark.parametrize("everywhere", [False, True], ids=["the fact", "all that names it"])
@pytest.mark.parametrize("fact", CHANGES)
def test_t16_a_fact_that_changed_since_the_yes_stops_the_clear_by_its_name(
    house: House, vault: Vault, fact: str, everywhere: bool
) -> None:
    assert house.auditor
    device = clears.with_token()
    request = clears.signed(house, device)
    change, sentence = CHANGES[fact]
    superuser(change)
    if everywhere:
        agrees(device, request)
    vault.tick()
    request = clears.reread(request)
    assert request.state in {"failed", "void"}
    assert re.search(sentence, request.ended_because)
    assert vault.said() == ["stopped"]
    assert nothing_is_handed_over()
    superuser("UPDATE passcodes_clearrequest SET state = 'approved', ended_because = ''")
    vault.tick()  # for ever
    assert nothing_is_handed_over()


def test_t16_another_token_row_stops_the_clear(house: House, vault: Vault) -> None:
    """A copy of the signed one: the same device, the same box, another number."""
    device = clears.with_token()
    request = clears.signed(house, device)
    [token] = tokens(device)
    superuser("UPDATE passcodes_escrowedtoken SET current = false, state = 'retired'")
    superuser(
        "INSERT INTO passcodes_escrowedtoken SELECT (jsonb_populate_record(t, jsonb_build_object("
        "'token', gen_random_uuid(), 'state', 'kept', 'current', true))).*"
        " FROM passcodes_escrowedtoken t"
    )
    superuser(
        "INSERT INTO passcodes_tokenbox (token, key, box) SELECT t.token, b.key, b.box"
        " FROM passcodes_escrowedtoken t, passcodes_tokenbox b WHERE t.current"
    )
    superuser(
        "UPDATE passcodes_clearrequest SET token_id ="
        " (SELECT token FROM passcodes_escrowedtoken WHERE current)"
    )
    agrees(device, request)
    vault.tick()
    request = clears.reread(request)
    assert request.token_id != token.pk
    assert request.state in {"failed", "void"}
    assert "not the one that was signed for" in request.ended_because
    assert nothing_is_handed_over()


def test_t16_a_later_contact_is_no_changed_fact(house: House, vault: Vault) -> None:
    device = clears.with_token()
    request = clears.signed(house, device)
    superuser("UPDATE devices_device SET last_seen_at = last_seen_at + interval '20 seconds'")
    vault.tick()
    assert clears.reread(request).state == "armed"


# T21


def test_t21_keys_and_origins_in_rows_are_read_by_nobody(house: House, vault: Vault) -> None:
    """He writes them into every column that could hold one, and waits for what is sealed to him."""
    box_key, order_key, passkey = (
        X25519PrivateKey.generate(),
        Ed25519PrivateKey.generate(),
        Passkey(),
    )
    phone = house.enrolled_phone(passcode=PASSCODE)
    house.charter(lambda now: now.pinned("approver", ["yes"], passkey.pinned()))
    own = {
        name: sealing.written(key.public_key().public_bytes_raw())
        for key, names in (
            (box_key, ("VAULT_PUBLIC_KEY", "DOOR_PUBLIC_KEY", "WORKER_PUBLIC_KEY")),
            (order_key, ("VAULT_VERIFY_KEY",)),
        )
        for name in names
    }
    own |= {"SIGN_URL": "https://sign.example.net", "DOOR_URL": "https://mdm.example.net"}
    assert rewritten(own, sealing.key_id(box_key.public_key())) > 20  # columns

    phone.new_unlock_token()
    assert phone.token_update().ok
    [token] = tokens(house.device(phone))
    box = bytes(TokenBox.objects.get(pk=token.pk).box)
    place = escrow.place(token)
    assert sealing.named_key(box) == sealing.key_id(sealing.public_key(settings.VAULT_PUBLIC_KEY))
    right = sealing.private_key(settings.VAULT_PRIVATE_KEY)
    assert sealing.unseal(box, key=right, context=place).reveal() == phone.unlock_token
    assert not opens(box, box_key, place)

    vault.tick()
    asked = clears.ask_for(phone, by=house.helpdesk)
    vault.tick()
    passkey.origin = own["SIGN_URL"]
    elsewhere = passkey.sign(signatures.to_approve(clears.reread(asked), by=house.approver))
    signatures.keep(asked.pk, elsewhere, by=house.approver)
    superuser("UPDATE passcodes_clearrequest SET state = 'approved' WHERE id = %s", asked.pk)
    vault.tick()
    assert nothing_is_handed_over()
    superuser("UPDATE passcodes_clearrequest SET state = 'requested' WHERE id = %s", asked.pk)
    clears.approve(asked.pk, by=house.approver)
    vault.tick()
    handed = Handover.objects.get()
    assert sealing.named_key(bytes(handed.box)) == sealing.key_id(
        sealing.public_key(settings.DOOR_PUBLIC_KEY)
    )
    assert not opens(bytes(handed.box), box_key, statements.HANDOVER + bytes(handed.order))
    request = clears.reread(asked)
    forged = handover.pack(
        sealing.unseal(
            bytes(handed.box),
            key=sealing.private_key(settings.DOOR_PRIVATE_KEY),
            context=statements.HANDOVER + bytes(handed.order),
        ),
        command=clears.command_of(request),
        request=request.pk,
        udid=phone.udid,
        identity=request.device.identity or "",
        until=clears.later(hours=4),
        order_key=order_key,
        door_key=sealing.public_key(settings.DOOR_PUBLIC_KEY),
    )
    superuser("DELETE FROM passcodes_handover")
    forged.save(force_insert=True)
    with pytest.raises(handover.OutOfOrder):
        handover.unpack(
            clears.command_of(request),
            certificate_digest=request.device.identity or "",
            request=request.pk,
            udid=phone.udid,
        )


def rewritten(own: dict[str, str], key_id: str) -> int:
    """Into each object that a row holds, each column called key, and a table of his own; how many."""
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (data_type = 'jsonb' OR column_name = 'key')"
    )
    found = superuser(columns)
    for table, column, kind in found:
        change = "UPDATE {t} SET {c} = {c} || %s WHERE jsonb_typeof({c}) = 'object'"
        value: Any = json.dumps({**own, **{name.lower(): said for name, said in own.items()}})
        if kind != "jsonb":
            change, value = "UPDATE {t} SET {c} = %s", key_id
        superuser(change, value, t=table, c=column)
    superuser("CREATE TABLE settings (name text, value text)")
    for name, value in own.items():
        superuser("INSERT INTO settings VALUES (%s, %s)", name, value)
    VaultSays.objects.filter(about=VaultSays.HOUSE).update(document=json.dumps(own).encode())
    AuditEntry.objects.create(verb="settings.changed", facts=own)
    return len(found)


def test_what_the_vault_has_told_is_told_again_where_somebody_wrote_no_object(
    house: House, vault: Vault, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    vault.tick()
    VaultSays.objects.exclude(about=VaultSays.CHARTER).update(said=["nothing"])
    vault.tick()
    assert vault_says.house().pulse
    assert "waits for one signature" in vault_says.of_request(asked.pk)["waits"]
