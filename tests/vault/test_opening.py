"""The vault opens what was signed, once; and says why where it does not."""

import logging
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices import sealing
from devices.models import AuditEntry, Command, Device
from devices.rules.secret import Secret
from passcodes import clearing, escrow, handover, vault_says
from passcodes.models import Approval, ClearRequest, EscrowedToken, Handover, TokenBox
from tests import clears
from tests.clears import TOKEN, UDID, Vault
from tests.house import House
from vault import charter as charters
from vault import keyring, loop, opening
from vault.journal import Journal

pytestmark = pytest.mark.django_db

OTHER: dict[str, Any] = {"udid": "00008101-OTHER", "identity": "cd" * 32, "serial": "F2LXQ9WXYZ"}


def nothing_was_handed_over() -> bool:
    return not (
        Handover.objects.exists() or Command.objects.filter(request_type="ClearPasscode").exists()
    )


def test_a_signed_request_is_armed_with_an_order_for_this_device(
    house: House, vault: Vault
) -> None:
    phone = clears.with_token()
    request = clears.signed(house, phone)
    assert vault.tick() == 1
    request = clears.reread(request)
    assert request.state == "armed"
    command = clears.command_of(request)
    assert (command.request_type, command.state, command.device) == (
        "ClearPasscode",
        "queued",
        phone,
    )
    assert Device.objects.get(pk=phone.pk).wake_due_at is not None
    token = handover.unpack(
        command, certificate_digest=clears.IDENTITY, request=request.pk, udid=UDID
    )
    assert token.reveal() == TOKEN
    assert vault.said() == ["used", "handed"]
    assert vault.tick() == 0


def test_what_nobody_signed_is_not_looked_at(house: House, vault: Vault) -> None:
    clears.ask(clears.with_token(), by=house.helpdesk)
    assert vault.tick() == 0
    assert vault.said() == []


def test_a_state_without_a_sign_off_opens_nothing(house: House, vault: Vault) -> None:
    asked = clears.ask(clears.with_token(), by=house.helpdesk)
    ClearRequest.objects.filter(pk=asked.pk).update(state="approved")
    vault.tick()
    assert clears.reread(asked).state == "approved"
    assert "waits for one signature" in vault_says.of_request(asked.pk)["waits"]
    assert nothing_was_handed_over()


def test_a_sign_off_by_who_asked_opens_nothing(house: House, vault: Vault) -> None:
    request = clears.signed(house, clears.with_token())
    Approval.objects.filter(request=request).update(by=house.helpdesk)
    vault.tick()
    assert clears.reread(request).state == "failed"
    assert "person who asked" in clears.reread(request).ended_because
    assert nothing_was_handed_over()


def swap_the_boxes(one: EscrowedToken, other: EscrowedToken) -> None:
    box = TokenBox.objects.get(token=other).box
    TokenBox.objects.filter(token=one).update(box=box)


def lose_the_box(one: EscrowedToken, _other: EscrowedToken) -> None:
    TokenBox.objects.filter(token=one).delete()


def cut_the_box(one: EscrowedToken, _other: EscrowedToken) -> None:
    box = TokenBox.objects.get(token=one)
    box.box = bytes(box.box)[:-1]
    box.save(update_fields=["box"])


def seal_to_another_key(one: EscrowedToken, _other: EscrowedToken) -> None:
    strange = X25519PrivateKey.generate().public_key()
    box = sealing.seal(Secret(TOKEN), to=strange, context=escrow.place(one))
    TokenBox.objects.filter(token=one).update(box=box)


def give_it_the_others_token(one: EscrowedToken, other: EscrowedToken) -> None:
    """The token row of another device, dressed up as this one's."""
    ClearRequest.objects.filter(token=one).update(token=other)


@pytest.mark.parametrize(
    "attack",
    [swap_the_boxes, lose_the_box, cut_the_box, seal_to_another_key, give_it_the_others_token],
)
def test_a_box_that_does_not_belong_here_is_failed_and_audited(
    house: House, vault: Vault, attack: Any
) -> None:
    phone, other = clears.with_token(), clears.with_token(b"DATA of the other", **OTHER)
    request = clears.signed(house, phone)
    attack(phone.tokens.get(), other.tokens.get())
    vault.tick()
    request = clears.reread(request)
    assert request.state in {"failed", "void"}
    assert request.ended_because
    assert nothing_was_handed_over()
    assert clears.traces(phone)[-1] in {"clear.fail", "clear.void"}
    vault.tick()  # and it is not tried again
    assert nothing_was_handed_over()


def test_another_device_dressed_up_as_this_one_does_not_open(house: House, vault: Vault) -> None:
    """Its row shows the serial number that people were told; its box knows better."""
    victim = clears.with_token()
    thief = clears.with_token(b"DATA of the thief's device", **OTHER)
    thief.serial = victim.serial
    thief.save(update_fields=["serial"])
    thief.tokens.update(serial=victim.serial)
    request = clears.signed(house, thief)
    vault.tick()
    assert clears.reread(request).state == "failed"
    assert "does not open" in clears.reread(request).ended_because
    assert nothing_was_handed_over()


def test_one_that_fails_holds_up_no_other(house: House, vault: Vault) -> None:
    phone, other = clears.with_token(), clears.with_token(**OTHER)
    bad, good = clears.signed(house, phone), clears.signed(house, other)
    lose_the_box(phone.tokens.get(), other.tokens.get())
    assert vault.tick() == 2
    assert clears.reread(bad).state == "failed"
    assert clears.reread(good).state == "armed"


def test_a_fault_of_our_own_holds_up_no_other_and_is_burnt(
    house: House, vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = (
        clears.signed(house, clears.with_token()),
        clears.signed(house, clears.with_token(**OTHER)),
    )
    real = handover.pack

    def pack(token: Secret, **facts: Any) -> Handover:
        if facts["request"] == bad.pk:
            raise ZeroDivisionError(token.reveal())
        return real(token, **facts)

    monkeypatch.setattr(handover, "pack", pack)
    with caplog.at_level(logging.ERROR):
        vault.tick()
    assert clears.reread(good).state == "armed"
    assert "ZeroDivisionError" in caplog.text
    assert "an unlock token" not in caplog.text
    vault.tick()
    assert clears.reread(bad).state == "failed"
    assert "interrupted" in clears.reread(bad).ended_because
    assert vault.said() == ["used", "used", "handed", "burnt"]


def test_a_database_put_back_to_yesterday_opens_nothing_again(house: House, vault: Vault) -> None:
    request = clears.signed(house, clears.with_token())
    vault.tick()
    Handover.objects.all().delete()
    ClearRequest.objects.filter(pk=request.pk).update(
        state="approved", command=None, armed_at=None
    )
    Command.objects.all().delete()
    vault.tick()
    request = clears.reread(request)
    assert request.state == "failed"
    assert "used before" in request.ended_because
    assert nothing_was_handed_over()


def test_taken_back_since_we_looked_is_left_alone(house: House, vault: Vault) -> None:
    request = clears.signed(house, clears.with_token())
    clearing.cancel(request.pk, by=house.helpdesk)
    with Journal(vault.state) as journal:
        opening.open_one(
            request.pk,
            keyring=keyring.load(),
            journal=journal,
            charter=charters.load(journal),
        )
    assert clears.reread(request).state == "cancelled"
    assert vault.said() == []


def test_the_use_is_noted_before_anything_is_opened(
    house: House, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    clears.signed(house, clears.with_token())
    real = sealing.unseal
    noted: list[list[str]] = []

    def unseal(box: bytes, **about: Any) -> Secret:
        noted.append(vault.said())
        return real(box, **about)

    monkeypatch.setattr(sealing, "unseal", unseal)
    vault.tick()
    assert noted == [["used"]]


def test_a22_neither_journal_nor_audit_nor_log_holds_a_token(
    house: House, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    request = clears.signed(house, clears.with_token())
    with caplog.at_level(logging.DEBUG):
        vault.tick()
    assert clears.reread(request).state == "armed"
    places = [
        (vault.state / "journal").read_text(),
        caplog.text,
        *(str(entry.facts) for entry in AuditEntry.objects.all()),
        str(Handover.objects.values_list("order", flat=True)),
    ]
    for place in places:
        assert "an unlock token" not in place
        assert TOKEN.hex() not in place


def test_the_loop_ends_when_it_is_told(vault: Vault) -> None:
    class Once(threading.Event):
        """Set by the first wait."""

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == loop.EVERY
            self.set()
            return True

    stop = Once()
    with Journal(vault.state) as journal:
        loop.run(keyring=keyring.load(), journal=journal, stop=stop)
    assert stop.is_set()
