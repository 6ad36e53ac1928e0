"""A clear: one asks, another signs, the device answers, and it is watched until it is protected."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from devices import queue
from devices.models import AuditEntry, Command, Device
from devices.models.device import Enrollment
from devices.rules.channels import ALL_RIGHTS, RIGHT_LOCK
from devices.rules.commands import Status
from devices.rules.secret import Secret
from passcodes import clear_delivery, clear_state, clearing, custody, escrow, evidence
from passcodes.models import Approval, ClearRequest, Handover
from passcodes.models.escrow import TokenState
from passcodes.models.evidence import Source
from passcodes.rules.clearing import APPROVAL_LASTS, REQUEST_LASTS, Refused
from passcodes.rules.compliance import PasscodeFacts
from staff.models import Scope, User
from staff.permissions import Forbidden
from tests import clears
from tests.clears import IDENTITY, TOKEN, UDID, Vault
from tests.house import House

pytestmark = pytest.mark.django_db

ANOTHER = Secret(b"DATA another token")
APPLES_ERROR = {
    "ErrorDomain": "MCPasscodeErrorDomain",
    "ErrorCode": 5013,
    "LocalizedDescription": "The passcode cannot be cleared.",
}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault")


@pytest.fixture
def phone() -> Device:
    return clears.with_token()


def armed(house: House, phone: Device, vault: Vault) -> ClearRequest:
    request = clears.signed(house, phone)
    vault.tick()
    request = clears.reread(request)
    assert request.state == "armed"
    return request


def delivered(request: ClearRequest) -> bytes:
    """What the door does when the device asks: the token, and the command is out."""
    command = clears.command_of(request)
    clears.is_not_in_lost_mode(request)
    token = clear_delivery.send(command, certificate_digest=IDENTITY)
    queue.sent(command)
    return token.reveal()


def answers(request: ClearRequest, status: Status, *errors: dict[str, Any]) -> None:
    assert request.command_id is not None
    device = Device.objects.get(pk=request.device_id)
    command = queue.record(
        device, user=None, uuid=str(request.command_id), status=status, errors=errors
    )
    assert command is not None
    clear_delivery.answered(command)


def cleared(house: House, phone: Device, vault: Vault) -> ClearRequest:
    request = armed(house, phone, vault)
    delivered(request)
    answers(request, Status.ACKNOWLEDGED)
    return clears.reread(request)


def says(house: House, phone: Device, *, present: bool, compliant: bool) -> None:
    evidence.heard(
        Device.objects.get(pk=phone.pk),
        PasscodeFacts(present, compliant, compliant),
        asked_at=timezone.now(),
        source=Source.SECURITY_INFO,
    )


# Asking


def test_a_request_remembers_who_asked_why_and_what_was_seen(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    assert asked.state == "requested"
    assert asked.requested_by == house.helpdesk
    assert asked.reason == "forgotten"
    assert asked.snapshot["udid"] == UDID
    assert asked.snapshot["token"] == asked.token.token.hex
    assert asked.possession.words == "In my hands, at the counter."
    assert asked.expires_at <= house.clock.now() + REQUEST_LASTS
    assert clears.traces(phone) == ["clear.draft", "clear.request"]


UNABLE: list[tuple[dict[str, Any], str]] = [
    ({"platform": "macos"}, "A Mac has no passcode"),
    ({"platform": "tvos"}, "An Apple TV has no passcode"),
    ({"is_shared_ipad": True}, "A Shared iPad has no passcode"),
    ({"is_user_enrollment": True}, "User Enrollment"),
    ({"access_rights": ALL_RIGHTS & ~RIGHT_LOCK}, "does not carry the right"),
    ({"enrollment_state": Enrollment.LEFT}, "no longer enrolled"),
    ({"lost_at": clears.later()}, "marked lost"),
    ({"identity": "cd" * 32}, "has sent no unlock token since"),
]


@pytest.mark.parametrize(("facts", "sentence"), UNABLE)
def test_a19_what_cannot_be_cleared_is_refused_with_a_plain_reason(
    house: House, phone: Device, facts: dict[str, Any], sentence: str
) -> None:
    Device.objects.filter(pk=phone.pk).update(**facts)
    with pytest.raises(Refused, match=sentence):
        clears.ask(phone, by=house.helpdesk)
    assert not ClearRequest.objects.exists()
    assert not Command.objects.filter(request_type="ClearPasscode").exists()
    refusal = AuditEntry.objects.get(verb="clear.refused")
    assert sentence in refusal.facts["because"]


def test_a19_all_reasons_are_said_at_once(house: House, phone: Device) -> None:
    Device.objects.filter(pk=phone.pk).update(
        lost_at=timezone.now(), access_rights=0, enrollment_state=Enrollment.LEFT
    )
    escrow.retire(phone, because="The device left.")
    with pytest.raises(Refused) as refused:
        clears.ask(
            phone, by=house.helpdesk, reason="", words=" ", possession={"how": "word", "words": ""}
        )
    for sentence in (
        "marked lost",
        "no longer enrolled",
        "does not carry the right",
        "No unlock token",
        "No reason",
        "Nobody has said what happened",
        "Nobody has said who holds the device",
        "do not match the serial number",
    ):
        assert sentence in str(refused.value)


def test_a19_the_page_can_ask_for_the_obstacles_before_anybody_does(
    house: House, phone: Device
) -> None:
    assert clearing.obstacles(phone, by=house.helpdesk) == []
    phone.assigned_to = house.helpdesk
    assert ["your own device" in one for one in clearing.obstacles(phone, by=house.helpdesk)] == [
        True
    ]


def test_a19_a_suspect_token_is_not_tried_again(house: House, phone: Device) -> None:
    kept = escrow.current(phone)
    assert kept is not None
    escrow.suspect(kept)
    with pytest.raises(Refused, match="refused its unlock token"):
        clears.ask(phone, by=house.helpdesk)


def test_a20_without_proof_of_possession_nobody_asks(house: House, phone: Device) -> None:
    for possession in (
        {},
        {"how": "guess"},
        {"how": "witness", "words": " "},
        {"how": "code", "words": "In my hands."},
        {"how": "code", "words": "In my hands.", "code": "418207"},
        {"how": "word", "words": "In my hands.", "serial_end": "XXXX"},
    ):
        with pytest.raises(Refused):
            clears.ask(phone, by=house.helpdesk, possession=possession)


def test_a_device_whose_row_shows_another_serial_number_is_refused(
    house: House, phone: Device
) -> None:
    """The box was sealed for another one: what people would read is not what would open."""
    Device.objects.filter(pk=phone.pk).update(serial="F2LXQ9WXYZ")
    phone.refresh_from_db()
    with pytest.raises(Refused, match="not the one that the unlock token came with"):
        clears.ask(phone, by=house.helpdesk)


def test_one_device_has_one_open_request(house: House, phone: Device) -> None:
    clears.ask(phone, by=house.helpdesk)
    with pytest.raises(Refused, match="Another request is open"):
        clears.ask(phone, by=house.helpdesk)


def test_who_may_not_ask_is_refused_and_leaves_a_trace(house: House, phone: Device) -> None:
    for person in (house.approver, house.author, house.auditor, house.outsider):
        with pytest.raises(Forbidden):
            clears.ask(phone, by=person)
    assert clears.traces(phone) == ["clear.forbidden"] * 4


def test_a_device_outside_the_scope_is_out_of_reach(house: House, phone: Device) -> None:
    Scope.objects.filter(user=house.helpdesk).update(everything=False)
    with pytest.raises(Forbidden, match="outside"):
        clears.ask(phone, by=house.helpdesk)


# Signing


def test_a20_another_person_signs_off_for_half_an_hour(house: House, phone: Device) -> None:
    request = clears.signed(house, phone)
    assert request.state == "approved"
    approval = Approval.objects.get(request=request)
    assert approval.by == house.approver
    assert house.clock.now() < approval.until <= house.clock.now() + APPROVAL_LASTS
    assert approval.facts["os"] == "26.1"
    assert clears.traces(phone) == ["clear.draft", "clear.request", "clear.approve"]


def both_rights(house: House) -> User:
    person = house.person("helpdesk", name="both")
    person.groups.add(*house.approver.groups.all())
    return person


def test_a20_who_asked_cannot_sign_off(house: House, phone: Device) -> None:
    person = both_rights(house)
    asked = clears.ask(phone, by=person)
    with pytest.raises(Refused, match="person who asked"):
        clears.approve(asked.pk, by=person)
    assert clears.reread(asked).state == "requested"
    assert not Approval.objects.exists()
    assert clears.traces(phone)[-1] == "clear.refused"


def test_whose_device_it_is_can_neither_ask_nor_sign(house: House, phone: Device) -> None:
    Device.objects.filter(pk=phone.pk).update(assigned_to=house.approver)
    asked = clears.ask(phone, by=house.helpdesk)
    with pytest.raises(Refused, match="own user cannot sign off"):
        clears.approve(asked.pk, by=house.approver)
    clears.approve(asked.pk, by=house.approver2)
    Device.objects.filter(pk=phone.pk).update(assigned_to=house.helpdesk)
    clear_state.void(phone, because="a new try")
    with pytest.raises(Refused, match="own device"):
        clears.ask(phone, by=house.helpdesk)


def test_who_may_not_sign_is_refused(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    for person in (house.author, house.auditor, house.admin, house.outsider):
        with pytest.raises(Forbidden):
            clears.approve(asked.pk, by=person)
        with pytest.raises(Forbidden):
            clears.deny(asked.pk, words="No.", by=person)


def test_a_no_says_why_and_ends_it(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    with pytest.raises(Refused, match="why"):
        clears.deny(asked.pk, words=" ", by=house.approver)
    denied = clears.deny(asked.pk, words="Not without the manager.", by=house.approver)
    assert (denied.state, denied.ended_because) == ("denied", "Not without the manager.")
    with pytest.raises(Refused):
        clears.approve(asked.pk, by=house.approver2)


def test_who_asked_may_take_it_back_and_so_may_who_has_the_right(
    house: House, phone: Device
) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    with pytest.raises(Forbidden):
        clearing.cancel(asked.pk, by=house.approver)
    assert clearing.cancel(asked.pk, by=house.helpdesk).state == "cancelled"
    again = clears.ask(phone, by=house.helpdesk)
    assert clearing.cancel(again.pk, by=house.admin).state == "cancelled"


def test_what_changed_since_it_was_asked_makes_it_void(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    escrow.keep(phone, ANOTHER, certificate_digest=IDENTITY)
    with pytest.raises(Refused, match="sent another unlock token"):
        clears.approve(asked.pk, by=house.approver)
    ended = clears.reread(asked)
    assert (ended.state, ended.ended_because) == (
        "void",
        "The device has sent another unlock token.",
    )
    clears.ask(phone, by=house.helpdesk)  # and the way is free for a new one


def test_a_newer_system_before_the_signature_is_no_surprise(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    Device.objects.filter(pk=phone.pk).update(os_version="26.2")
    assert clears.approve(asked.pk, by=house.approver).state == "approved"


# The way to the device


def test_a20_the_device_gets_its_token_after_all_of_it(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    assert delivered(request) == TOKEN
    request = clears.reread(request)
    assert request.state == "sent"
    assert request.sent_at is not None
    assert clears.traces(phone) == [
        "clear.draft",
        "clear.request",
        "clear.approve",
        "clear.arm",
        "clear.send",
    ]


def test_a_command_that_no_request_stands_behind_delivers_nothing(phone: Device) -> None:
    [command] = queue.enqueue([phone], "ClearPasscode")
    with pytest.raises(Refused, match="No request"):
        clear_delivery.send(command, certificate_digest=IDENTITY)


def test_another_device_gets_nothing(house: House, phone: Device, vault: Vault) -> None:
    request = armed(house, phone, vault)
    with pytest.raises(Refused, match="Another device"):
        clear_delivery.send(clears.command_of(request), certificate_digest="cd" * 32)


def lost_by_hand(house: House, request: ClearRequest) -> None:
    Device.objects.filter(pk=request.device_id).update(lost_at=timezone.now())


def too_late(house: House, request: ClearRequest) -> None:
    house.clock.forward(minutes=31)


def another_token(house: House, request: ClearRequest) -> None:
    escrow.keep(request.device, ANOTHER, certificate_digest=IDENTITY)


def token_retired(house: House, request: ClearRequest) -> None:
    escrow.retire(request.device, because="A test.")


def another_system(house: House, request: ClearRequest) -> None:
    Device.objects.filter(pk=request.device_id).update(os_version="27.0")


def another_owner(house: House, request: ClearRequest) -> None:
    Device.objects.filter(pk=request.device_id).update(assigned_to=house.author)


def another_udid(house: House, request: ClearRequest) -> None:
    Device.objects.filter(pk=request.device_id).update(udid="another")


def approver_gone(house: House, request: ClearRequest) -> None:
    User.objects.filter(pk=house.approver.pk).update(is_active=False)


Change = tuple[Callable[[House, ClearRequest], None], str, str]
CHANGES: list[Change] = [
    (lost_by_hand, "void", "marked lost"),
    (too_late, "expired", "No sign-off is in force"),
    (another_token, "void", "another unlock token"),
    (token_retired, "void", "No unlock token"),
    (another_system, "void", "version of the device's system"),
    (another_owner, "void", "belongs to somebody else"),
    (another_udid, "void", "UDID"),
    (approver_gone, "void", "may no longer sign in"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a20_all_is_asked_again_when_the_vault_opens(
    house: House,
    phone: Device,
    vault: Vault,
    change: Change,
) -> None:
    happens, state, sentence = change
    request = clears.signed(house, phone)
    happens(house, clears.reread(request))
    vault.tick()
    request = clears.reread(request)
    assert request.state == state
    assert sentence in request.ended_because or state == "expired"
    assert not Command.objects.filter(request_type="ClearPasscode").exists()
    assert not Handover.objects.exists()
    assert vault.said() == ["stopped"]


@pytest.mark.parametrize("change", CHANGES)
def test_a20_all_is_asked_again_when_the_device_fetches_it(
    house: House,
    phone: Device,
    vault: Vault,
    change: Change,
) -> None:
    happens, state, sentence = change
    request = armed(house, phone, vault)
    happens(house, request)
    with pytest.raises(Refused, match=sentence):
        delivered(request)
    request = clears.reread(request)
    assert request.state == state
    assert not Handover.objects.exists()
    command = clears.command_of(request)
    assert command.state == "cancelled"
    assert "clear.refused" in clears.traces(phone)


def test_a_lost_connection_brings_the_same_command_again(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    assert delivered(request) == TOKEN
    assert delivered(request) == TOKEN
    assert clears.command_of(request).times_sent == 2


def test_not_now_keeps_it_while_the_sign_off_lasts(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    delivered(request)
    answers(request, Status.NOT_NOW)
    assert clears.reread(request).state == "sent"
    assert delivered(request) == TOKEN
    answers(request, Status.NOT_NOW)
    house.clock.forward(minutes=31)
    with pytest.raises(Refused):
        delivered(request)
    assert clears.reread(request).state == "unconfirmed"
    assert not Handover.objects.exists()


# The answer


def test_a21_an_acknowledged_clear_asks_at_once_and_ends_the_hand_over(
    house: House, phone: Device, vault: Vault
) -> None:
    request = cleared(house, phone, vault)
    assert request.state == "cleared"
    assert request.cleared_at is not None
    assert request.exposed_after == request.cleared_at + settings.HOUR
    assert request.token.seen_by_the_door_at == request.cleared_at
    assert not Handover.objects.exists()
    waiting = Command.objects.open().filter(device=phone)
    assert [command.request_type for command in waiting] == ["DeviceInformation", "SecurityInfo"]
    assert clears.traces(phone)[-1] == "clear.confirm"


def test_a21_an_error_makes_the_token_suspect_and_nothing_is_tried_again(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    delivered(request)
    answers(request, Status.ERROR, APPLES_ERROR)
    request = clears.reread(request)
    assert request.state == "failed"
    assert "The passcode cannot be cleared. (MCPasscodeErrorDomain 5013)" in request.ended_because
    assert request.token.state == TokenState.SUSPECT
    assert not Handover.objects.exists()
    house.tick()
    vault.tick()
    assert not Command.objects.open().filter(request_type="ClearPasscode").exists()
    with pytest.raises(Refused, match="refused its unlock token"):
        clears.ask(phone, by=house.helpdesk)


def test_a_new_token_after_an_error_makes_a_new_request_possible(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    delivered(request)
    answers(request, Status.ERROR, APPLES_ERROR)
    escrow.keep(phone, ANOTHER, certificate_digest=IDENTITY)
    again = armed(house, phone, vault)
    assert delivered(again) == ANOTHER.reveal()


def test_the_same_token_serves_a_second_request(house: House, phone: Device, vault: Vault) -> None:
    cleared(house, phone, vault)
    says(house, phone, present=True, compliant=True)
    assert cleared(house, phone, vault).state == "cleared"


def test_a_late_answer_is_believed(house: House, phone: Device, vault: Vault) -> None:
    request = armed(house, phone, vault)
    delivered(request)
    house.clock.forward(minutes=31)
    assert clear_state.expire_due() == 1
    assert clears.reread(request).state == "unconfirmed"
    answers(request, Status.ACKNOWLEDGED)
    assert clears.reread(request).state == "cleared"


# Afterwards


def test_a_compliant_passcode_protects_it_again(house: House, phone: Device, vault: Vault) -> None:
    request = cleared(house, phone, vault)
    says(house, phone, present=False, compliant=True)  # no policy: it calls itself compliant
    assert clears.reread(request).state == "cleared"
    says(house, phone, present=True, compliant=False)
    assert clears.reread(request).state == "cleared"
    says(house, phone, present=True, compliant=True)
    request = clears.reread(request)
    assert request.state == "reprotected"
    assert request.protected_at is not None
    assert request.look_again_at is None


def test_an_answer_to_an_earlier_question_protects_nothing(
    house: House, phone: Device, vault: Vault
) -> None:
    request = cleared(house, phone, vault)
    evidence.heard(
        phone,
        PasscodeFacts(present=True, compliant=True, compliant_with_profiles=True),
        asked_at=timezone.now() - timedelta(minutes=1),
        source=Source.SECURITY_INFO,
    )
    assert clears.reread(request).state == "cleared"


def test_unprotected_after_the_hour_is_exposed_and_may_still_be_protected(
    house: House, phone: Device, vault: Vault
) -> None:
    request = cleared(house, phone, vault)
    house.clock.forward(minutes=59)
    assert clear_delivery.expose_due() == 0
    house.clock.forward(minutes=2)
    assert clear_delivery.expose_due() == 1
    assert clears.reread(request).state == "exposed"
    says(house, phone, present=True, compliant=True)
    assert clears.reread(request).state == "reprotected"


def test_a_cleared_device_is_asked_again_until_it_is_protected(
    house: House, phone: Device, vault: Vault
) -> None:
    cleared(house, phone, vault)
    for _ in range(3):
        Command.objects.open().filter(device=phone).update(state="acknowledged")
        assert clear_delivery.look_due() == 0
        house.clock.forward(seconds=31)
        assert clear_delivery.look_due() == 1
        assert Command.objects.open().filter(device=phone, request_type="SecurityInfo").exists()
    says(house, phone, present=True, compliant=True)
    house.clock.forward(seconds=31)
    assert clear_delivery.look_due() == 0


# Running out, and being stopped


def test_a_request_that_nobody_signs_runs_out(house: House, phone: Device) -> None:
    asked = clears.ask(phone, by=house.helpdesk)
    assert clear_state.expire_due() == 0
    house.clock.forward(hours=4, seconds=1)
    assert clear_state.expire_due() == 1
    assert clears.reread(asked).state == "expired"


def test_an_armed_clear_that_nobody_fetches_runs_out(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    house.clock.forward(minutes=31)
    assert clear_state.expire_due() == 1
    assert clears.reread(request).state == "expired"
    assert clears.command_of(request).state == "cancelled"
    assert not Handover.objects.exists()


def test_a14_void_ends_what_is_open_and_cancels_what_is_queued(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    assert clear_state.void(phone, because="The device enrolled again.") == 1
    request = clears.reread(request)
    assert (request.state, request.ended_because) == ("void", "The device enrolled again.")
    assert clears.command_of(request).state == "cancelled"
    assert not Handover.objects.exists()
    assert "clear.alarm" not in clears.traces(phone)


def test_what_was_sent_already_is_void_with_an_alarm_and_its_answer_still_heard(
    house: House, phone: Device, vault: Vault
) -> None:
    request = armed(house, phone, vault)
    delivered(request)
    custody.mark_lost(phone.pk, note="Left in a taxi.", by=house.helpdesk)
    assert clears.reread(request).state == "void"
    assert "clear.alarm" in clears.traces(phone)
    with pytest.raises(Refused):
        delivered(request)
    answers(request, Status.ACKNOWLEDGED)
    assert clears.reread(request).state == "cleared"


def test_an_armed_clear_can_be_taken_back(house: House, phone: Device, vault: Vault) -> None:
    request = armed(house, phone, vault)
    clearing.cancel(request.pk, by=house.helpdesk)
    assert clears.command_of(request).state == "cancelled"
    assert not Handover.objects.exists()


def test_a_faulty_request_does_not_hold_up_the_clock(house: House, phone: Device) -> None:
    other = clears.with_token(udid="another", identity="cd" * 32)
    first, second = (clears.ask(one, by=house.helpdesk) for one in (phone, other))
    house.clock.forward(hours=5)
    ClearRequest.objects.filter(pk=first.pk).update(state="cancelled")
    assert clear_state.expire_due() == 1
    assert clears.reread(second).state == "expired"


def test_a22_every_step_leaves_a_trace_and_none_a_token(
    house: House, phone: Device, vault: Vault
) -> None:
    cleared(house, phone, vault)
    says(house, phone, present=True, compliant=True)
    assert clears.traces(phone) == [
        "clear.draft",
        "clear.request",
        "clear.approve",
        "clear.arm",
        "clear.send",
        "clear.confirm",
        "clear.protect",
    ]
    for entry in AuditEntry.objects.all():
        assert "an unlock token" not in str(entry.facts)
        assert TOKEN.hex() not in str(entry.facts)
