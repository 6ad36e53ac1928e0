"""What a check-in message does: a table from its type to the processes that it starts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from devices import enrollment
from devices.models import Device, PushCertificate
from devices.models.device import Enrollment
from mdm.door import declarative, identity, users
from mdm.door.identity import Caller, NotKnown
from mdm.wire.messages import (
    Authenticate,
    CheckIn,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    Malformed,
    TokenUpdate,
    UserAuthenticate,
)
from passcodes import enforcement, escrow, gate, leaving, rollout

log = logging.getLogger(__name__)

OK = 200
BAD = 400
NOT_MANAGED = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; a body is a property list, but where JSON is asked for."""

    status: int = OK
    body: bytes = b""
    content_type: str = "application/xml"


@transaction.atomic
def check_in(caller: Caller, message: CheckIn) -> Answer:
    """Do what the message says; NotKnown if it may not, Malformed if it makes no sense here."""
    if isinstance(message, Authenticate):
        return authenticate(caller, message)
    device = identity.device(caller, message.udid)
    if device.enrollment_state in GONE:
        raise NotKnown("a device that has left and did not enroll again")
    handler = MESSAGES.get(type(message))
    if handler is None:
        log.warning("%r sent a %s, which is not answered.", device, type(message).__name__)
        return Answer(BAD)
    return handler(device, message, caller)


def authenticate(caller: Caller, message: Authenticate) -> Answer:
    """An enrollment begins: whatever was known of the device before counts no more."""
    if message.user:
        raise Malformed("an Authenticate from a user")
    _check_topic(message.topic)
    if not identity.is_valid_now(caller):
        raise NotKnown("an identity that has ended")
    try:
        device = enrollment.authenticated(
            udid=message.udid,
            certificate_digest=caller.digest,
            certificate_until=caller.certificate.not_valid_after_utc,
            is_user_enrollment=message.is_user_enrollment,
            serial=message.serial,
            name=message.device_name,
            product_name=message.product_name,
            model=message.model,
            model_name=message.model_name,
            os_version=message.os_version,
            build=message.build,
        )
    except enrollment.Refused as refused:
        raise NotKnown(str(refused)) from None
    leaving.settle(device, because="The device enrolled again.")
    return Answer()


def token_update(device: Device, message: TokenUpdate, caller: Caller) -> Answer:
    """The device can be reached; the first time it is enrolled by this."""
    _check_topic(message.topic)
    if message.user:
        if device.enrollment_state != Enrollment.ENROLLED:
            raise NotKnown("a user of a device that is not enrolled")
        users.token_update(device, message.user, message)
        return Answer()
    is_first = enrollment.update_push_address(
        device, token=message.push_token, magic=message.push_magic
    )
    if message.unlock_token:
        escrow.keep(device, message.unlock_token, certificate_digest=caller.digest)
    if is_first:
        enforcement.ask(device)
    rollout.apply_wanted(device)
    gate.review(device)
    return Answer()


def check_out(device: Device, message: CheckOut, _caller: Caller) -> Answer:
    """The device leaves: nobody wakes it, nothing waits for it, its tokens open nothing more."""
    _check_topic(message.topic)
    if message.user:
        raise Malformed("a CheckOut from a user")
    enrollment.checked_out(device)
    leaving.settle(device, because="The device left.")
    return Answer()


def user_authenticate(_device: Device, _message: UserAuthenticate, _caller: Caller) -> Answer:
    """Network users are not managed for this login; the Mac asks again at the next one."""
    return Answer(NOT_MANAGED)


def get_bootstrap_token(_device: Device, _message: GetBootstrapToken, _caller: Caller) -> Answer:
    """None is kept."""
    return Answer()


def declarative_management(
    device: Device, message: DeclarativeManagement, _caller: Caller
) -> Answer:
    """The device asks what is declared for it, or reports."""
    return Answer(*declarative.answer(device, message), content_type=declarative.JSON)


GONE = frozenset({Enrollment.LEFT, Enrollment.RETIRED})
MESSAGES: dict[type, Callable[[Device, Any, Caller], Answer]] = {
    TokenUpdate: token_update,
    CheckOut: check_out,
    UserAuthenticate: user_authenticate,
    GetBootstrapToken: get_bootstrap_token,
    DeclarativeManagement: declarative_management,
}


def _check_topic(topic: str) -> None:
    """The topic must be the one that our pushes go to, or no push would ever reach the device."""
    current = PushCertificate.objects.filter(is_current=True).first()
    if current is None:
        log.error("A device checks in, and no push certificate is there to wake it.")
        raise Malformed("no push certificate is there")
    if topic != current.topic:
        raise Malformed("a topic that is not ours")
