"""The command channel: a report comes in, its result goes to whoever waits for it, a command goes out."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import asdict

from django.db import OperationalError, transaction

from devices import accounts, enrollment, identities, inventory, queue, waking
from devices.models import Command, Device, DeviceUser
from devices.models.device import Enrollment
from devices.rules.channels import WHILE_A_LOGIN_WAITS
from devices.rules.commands import State, Status, deliverable
from devices.rules.waking import FIRST_RETRY
from mdm.door import declarative, identity, users
from mdm.door.identity import Caller
from mdm.enrollment import offer
from mdm.wire import commands, reports
from mdm.wire import custody as said_of_custody
from mdm.wire.reports import Report
from passcodes import (
    clear_delivery,
    codes,
    custody,
    custom_command,
    declarations,
    enforcement,
    evidence,
    gate,
    grouping,
    inactivity,
    leaving,
    lost_mode,
    ways,
    witness,
)
from passcodes.models import Enforcement, Release
from passcodes.models.evidence import Source
from passcodes.rules.clearing import Refused
from passcodes.rules.codes import MessageResult
from passcodes.rules.codes import Refused as NoCode
from passcodes.rules.lost_mode import QUERY

log = logging.getLogger(__name__)


class Withheld(Exception):
    """The command may not go out as things stand; the message says why."""


@transaction.atomic
def connect(caller: Caller, report: Report) -> bytes:
    """Take in what the device reports; answer with its next command, or with nothing."""
    device = identity.device(caller, report.udid)
    user = users.channel(device, report.user, report) if report.user else None
    inventory.seen(device)
    if report.status is None or (report.user and user is None):
        return b""  # a status not yet invented; a user we do not know
    command = queue.record(
        device,
        user=user,
        uuid=report.command_uuid,
        status=report.status,
        errors=report.errors,
    )
    if command:
        _take_in(command, report)
        device.refresh_from_db(fields=["enrollment_state", "wake_due_at", "wake_attempts"])
    inactivity.came(device)  # after its answer: what it was asked before the silence is stale
    return _next(device, user, report, after=report.status, caller=caller)


def _take_in(command: Command, report: Report) -> None:
    """Hand the result on. What cannot be digested ends here, or it would come back for ever."""
    if report.status is Status.COMMAND_FORMAT_ERROR:
        log.error("%r did not understand %s.", command.device, command.request_type)
    try:
        with transaction.atomic():
            RESULTS.get(command.request_type, _nothing_more)(command, report)
            custom_command.answered(command, report.keys)
    except OperationalError:
        raise  # a lock or a lost connection: the device repeats, and all is done again
    except Exception as fault:  # noqa: BLE001 - any fault in a result, or the queue stands still
        # Neither the message of the fault nor its chain: they may quote what the device sent.
        where = traceback.extract_tb(fault.__traceback__)[-1]
        kind = type(fault).__name__
        log.error(  # noqa: TRY400 - likewise
            "The result of %s from %r was not digested: %s in %s, line %s.",
            command.request_type,
            command.device,
            kind,
            where.name,
            where.lineno,
        )
        queue.remark(command, f"The answer could not be taken in ({kind}).")


def _next(
    device: Device, user: DeviceUser | None, report: Report, *, after: Status, caller: Caller
) -> bytes:
    """The next command that may go out, or zero bytes: the session is over."""
    if device.enrollment_state != Enrollment.ENROLLED:
        return b""
    queued = queue.waiting(device, user=user, after=after)
    for waiting in queued:
        if _has_to_wait(waiting, report):
            continue
        try:
            command, body = _ready(waiting, caller)
        except (Withheld, Refused, NoCode) as reason:
            queue.refuse(waiting, str(reason))
            continue
        if State(command.state) not in deliverable(after):
            continue  # what must be answered before it was put off
        queue.sent(command)
        waking.wake_later(user or device, FIRST_RETRY)  # in case the answer never comes
        return body
    queue.drained(device, user, after=after, is_empty=after is Status.IDLE and not queued)
    return b""


def _ready(command: Command, caller: Caller) -> tuple[Command, bytes]:
    """The command as bytes; or, before a clear, the question that the device has to answer first."""
    try:
        return command, _render(command, caller)
    except clear_delivery.AskFirst as errand:
        return errand.question, _render(errand.question, caller)


def _has_to_wait(command: Command, report: Report) -> bool:
    """Whether it would only hold up a user who wants to get in.

    Apple, "NeedSyncResponse" and "UserConfiguration": in Setup Assistant, before the first account
    exists, every command is put off until an empty answer comes; all of it goes out after login.
    """
    if report.user is None:
        return False
    return report.is_user_configuration or (
        report.login_waits and command.request_type not in WHILE_A_LOGIN_WAITS
    )


def _render(command: Command, caller: Caller) -> bytes:
    """The command as bytes, made now and kept nowhere; what may not go out now does not."""
    payload = token = message = None
    try:
        arguments = custom_command.arguments(command)
    except custom_command.DoesNotOpen as fault:
        raise Withheld(str(fault)) from None
    if command.request_type == "DeviceLock":
        message = codes.deliver(command, certificate_digest=caller.digest)
    if command.request_type == "ClearPasscode":
        token = clear_delivery.send(command, certificate_digest=caller.digest)
    if command.request_type == "InstallProfile":
        if reason := gate.may_deliver(command):
            raise Withheld(reason)
        if arguments == identities.RENEWAL:
            payload, arguments = _own_profile(command.device), {}
        elif command.profile:
            payload = bytes(command.profile.payload)
    if command.request_type == declarations.TELL and command.user_id is None:
        payload = declarative.sync_tokens(command.device)
    try:
        return commands.render(
            str(command.uuid),
            command.request_type,
            arguments=arguments,
            payload=payload,
            unlock_token=token,
            message=message,
        )
    except (TypeError, ValueError, OverflowError):  # a row that makes no command stops no queue
        log.error("A %s for %r cannot be written.", command.request_type, command.device)  # noqa: TRY400 - the fault may quote the token
        raise Withheld("The command could not be written.") from None


def _own_profile(device: Device) -> bytes:
    """Our enrollment profile, written for this device and this moment."""
    try:
        return offer.again(device)
    except offer.NotPossible as reason:
        raise Withheld(str(reason)) from None


# What each result means. A command that failed, or was put off, comes here as well.


def _profile_installed(command: Command, _report: Report) -> None:
    _policy_or_release(command)
    if command.state == State.ACKNOWLEDGED:
        ways.came_as_profile(command)


def _policy_or_release(command: Command) -> None:
    is_a_policy = Enforcement.objects.filter(command=command).exists()
    if not is_a_policy and not Release.objects.filter(command=command).exists():
        return
    match State(command.state):
        case State.ACKNOWLEDGED:
            (enforcement.installed if is_a_policy else gate.delivered)(command)
        case State.FAILED:
            (enforcement.refused if is_a_policy else gate.failed)(command)
        case _:
            pass  # NotNow: no clock starts, and nothing is decided


def _profile_removed(command: Command, _report: Report) -> None:
    done = command.state == State.ACKNOWLEDGED
    if command.state == State.NOT_NOW:
        return
    if command.arguments.get("Identifier") == enrollment.MDM_PROFILE:
        if done:
            enrollment.checked_out(command.device)
            leaving.settle(command.device, because="The device was unenrolled.")
    elif Enforcement.objects.filter(command=command).exists():
        enforcement.removed(command)  # or not, which it asks itself
    elif Release.objects.filter(command=command).exists():
        (gate.removed if done else gate.failed)(command)


def _security_info(command: Command, report: Report) -> None:
    if command.state == State.ACKNOWLEDGED and command.user_id is None:
        assert command.sent_at is not None
        evidence.heard(
            command.device,
            reports.security_info(report),
            asked_at=command.sent_at,
            source=Source.SECURITY_INFO,
        )


def _device_information(command: Command, report: Report) -> None:
    if command.user_id is not None:
        return
    asks_of_lost_mode = QUERY in command.arguments.get("Queries", ())
    if command.state == State.ACKNOWLEDGED:
        answers = reports.device_information(report)
        inventory.heard(command.device, answers, asked_at=command.sent_at)
        grouping.settle(command.device)
        ways.settle(command.device)
        if asks_of_lost_mode:
            assert command.sent_at is not None
            is_on = answers.get(QUERY)
            custody.heard(
                command.device,
                is_on if isinstance(is_on, bool) else None,
                asked_at=command.sent_at,
            )
    elif command.state == State.FAILED and asks_of_lost_mode:
        clear_delivery.would_not_say(command.device)


def _profile_list(command: Command, report: Report) -> None:
    if command.state != State.ACKNOWLEDGED:
        return
    assert command.sent_at is not None
    listed = [asdict(one) for one in reports.profile_list(report)]
    if user := _user(command):
        witness.profiles_of_user(user, listed, asked_at=command.sent_at)
    else:
        witness.profiles(command.device, listed, asked_at=command.sent_at)


def _restrictions(command: Command, report: Report) -> None:
    if command.state != State.ACKNOWLEDGED:
        return
    assert command.sent_at is not None
    values = reports.restrictions(report)
    if user := _user(command):
        witness.restrictions_of_user(user, values, asked_at=command.sent_at)
    else:
        witness.restrictions(command.device, values, asked_at=command.sent_at)


def _user(command: Command) -> DeviceUser | None:
    """Whose channel the command went over; None: the device's own."""
    if command.user:
        command.user.device = command.device
    return command.user


def _user_list(command: Command, report: Report) -> None:
    if command.state == State.ACKNOWLEDGED and command.user_id is None:
        accounts.listed(command.device, reports.user_list(report))


def _user_deleted(command: Command, _report: Report) -> None:
    if command.state == State.ACKNOWLEDGED:
        accounts.deleted(command.device, command.arguments["UserName"])
        gate.review(command.device)


def _user_logged_out(command: Command, _report: Report) -> None:
    if command.state == State.ACKNOWLEDGED:
        accounts.ask(command.device)


def _passcode_cleared(command: Command, _report: Report) -> None:
    clear_delivery.answered(command)


def _locked(command: Command, report: Report) -> None:
    """Whether it shows the message, if it carried one; a device in Lost Mode says that instead."""
    result = said_of_custody.message_result(report)
    codes.answered(command, result)
    if result == MessageResult.IN_LOST_MODE:
        assert command.sent_at is not None
        custody.heard(command.device, True, asked_at=command.sent_at)  # noqa: FBT003 - its own word


def _lost_mode_switched(command: Command, _report: Report) -> None:
    lost_mode.switched(command)


def _located(command: Command, report: Report) -> None:
    lost_mode.located(command, said_of_custody.place(report))


def _sounded(command: Command, _report: Report) -> None:
    lost_mode.sounded(command)


def _erased(command: Command, _report: Report) -> None:
    """It says so once, and then knows nothing of us: its token opens nothing any more."""
    if command.state == State.ACKNOWLEDGED:
        leaving.settle(command.device, because="The device was erased.")
        lost_mode.forget(command.device)


def _told(command: Command, _report: Report) -> None:
    """It fetches its declarations by itself; one that cannot gets profiles."""
    if command.state == State.FAILED and command.user_id is None:
        declarations.cannot(command.device, because=gate.why_refused(command))
        ways.settle(command.device)


def _nothing_more(_command: Command, _report: Report) -> None:
    """That it was answered is all there is to know."""


RESULTS: dict[str, Callable[[Command, Report], None]] = {
    "InstallProfile": _profile_installed,
    "RemoveProfile": _profile_removed,
    "SecurityInfo": _security_info,
    "DeviceInformation": _device_information,
    "ProfileList": _profile_list,
    "Restrictions": _restrictions,
    "ClearPasscode": _passcode_cleared,
    "DeclarativeManagement": _told,
    "DeviceLock": _locked,
    "EnableLostMode": _lost_mode_switched,
    "DisableLostMode": _lost_mode_switched,
    "DeviceLocation": _located,
    "PlayLostModeSound": _sounded,
    "EraseDevice": _erased,
    "UserList": _user_list,
    "DeleteUser": _user_deleted,
    "LogOutUser": _user_logged_out,
}
