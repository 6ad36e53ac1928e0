"""What a check-in message does: a table from its type to the processes that it starts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from devices import bootstrap, enrollment, setup_assistant
from devices.models import Device, PushCertificate
from devices.models.device import Enrollment
from mdm.door import declarative, identity, users
from mdm.door.identity import Caller, NotKnown
from mdm.wire import answers
from mdm.wire.messages import (
    Authenticate,
    CheckIn,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    Malformed,
    SetBootstrapToken,
    TokenUpdate,
    UserAuthenticate,
)
from passcodes import (
    custody,
    delivery,
    enforcement,
    escrow,
    gate,
    grouping,
    inactivity,
    leaving,
)

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
    if message.user and not isinstance(message, UserAuthenticate):
        users.admit(device, message.user)
    if not isinstance(message, CheckOut):
        inactivity.came(device)
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
        gate.review(device)  # what is meant for the user may go to them now
        return Answer()
    is_first = enrollment.update_push_address(
        device, token=message.push_token, magic=message.push_magic
    )
    if message.unlock_token:
        escrow.keep(
            device,
            message.unlock_token,
            certificate_digest=caller.digest,
            origin=escrow.origin(device, completes_enrollment=is_first),
        )
    if is_first:
        custody.came_back(device)
        enforcement.ask(device)
    grouping.settle(device)
    delivery.apply_wanted(device)
    gate.review(device)
    if message.awaiting_configuration:
        setup_assistant.let_go(device)
    return Answer()


def check_out(device: Device, message: CheckOut, _caller: Caller) -> Answer:
    """The device leaves: nobody wakes it, nothing waits for it, its tokens open nothing more."""
    _check_topic(message.topic)
    if message.user:
        raise Malformed("a CheckOut from a user")
    enrollment.checked_out(device)
    leaving.settle(device, because="The device left.")
    return Answer()


def user_authenticate(device: Device, message: UserAuthenticate, _caller: Caller) -> Answer:
    """A network user logs in: declined, let in as they are, or let in by a proof."""
    if device.enrollment_state != Enrollment.ENROLLED:
        raise NotKnown("a user of a device that is not enrolled")
    if message.digest_response is None:
        challenge = users.begin_login(device, message)
        if challenge is None:
            return Answer(NOT_MANAGED)
        return Answer(body=answers.digest_challenge(challenge))
    token = users.prove_login(device, message)
    if token is None and settings.NETWORK_USERS_REFUSED_BY_410:
        return Answer(NOT_MANAGED)
    return Answer(body=answers.auth_token(token))


def set_bootstrap_token(device: Device, message: SetBootstrapToken, _caller: Caller) -> Answer:
    """Keep it in place of the one we had; an empty one deletes that."""
    _only_the_device(message)
    if message.bootstrap_token is None:
        bootstrap.forget(device, because="The device said so.")
        return Answer()
    if not bootstrap.can_keep():
        log.error(NO_BOOTSTRAP_TOKENS, device)
        return Answer(BAD)  # to say yes would be a promise that nobody could keep
    bootstrap.keep(device, message.bootstrap_token)
    return Answer()


def get_bootstrap_token(device: Device, message: GetBootstrapToken, _caller: Caller) -> Answer:
    """Give it back, or nothing where none is kept."""
    _only_the_device(message)
    if not bootstrap.can_keep():
        log.error(NO_BOOTSTRAP_TOKENS, device)
        return Answer()
    token = bootstrap.give(device)
    return Answer(body=answers.bootstrap_token(token) if token else b"")


NO_BOOTSTRAP_TOKENS = (
    "%r speaks of its bootstrap token, and this process cannot keep any: they are sealed to the "
    "door's own key, and SERVE=checkin does not hold DOOR_PRIVATE_KEY."
)


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
    SetBootstrapToken: set_bootstrap_token,
    GetBootstrapToken: get_bootstrap_token,
    DeclarativeManagement: declarative_management,
}


def _only_the_device(message: SetBootstrapToken | GetBootstrapToken) -> None:
    if message.user:
        raise Malformed("a bootstrap token on the channel of a user")


def _check_topic(topic: str) -> None:
    """The topic must be the one that our pushes go to, or no push would ever reach the device."""
    current = PushCertificate.objects.filter(is_current=True).first()
    if current is None:
        log.error("A device checks in, and no push certificate is there to wake it.")
        raise Malformed("no push certificate is there")
    if topic != current.topic:
        raise Malformed("a topic that is not ours")
