"""What a device says at check-in: bytes become a typed message, or Malformed.

The names are Apple's. A message with user keys comes from a user channel and speaks for that
user alone (Apple: "Check-in").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from devices.rules.secret import Secret
from mdm.wire.plists import LONGEST, Malformed, load, maybe, name_of, secret, take, text

__all__ = [
    "Authenticate",
    "CheckIn",
    "CheckOut",
    "DeclarativeManagement",
    "GetBootstrapToken",
    "GetToken",
    "Malformed",
    "Sender",
    "SetBootstrapToken",
    "TokenUpdate",
    "Unsupported",
    "UserAuthenticate",
    "UserKeys",
    "parse",
    "sender",
]

LONGEST_TOPIC = 200
LONGEST_TOKEN = 256  # bytes; it stands in an address at APNs, where all share a connection
LONGEST_MAGIC = 128
LONGEST_VERSION = 32
LONGEST_ENDPOINT = 200


@dataclass(frozen=True, slots=True)
class UserKeys:
    """Whose channel a message came on; `short_name` tells the users of a Shared iPad apart."""

    user_id: str
    short_name: str | None = None
    long_name: str | None = None
    auth_token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    udid: str  # the EnrollmentID of a User Enrollment
    is_user_enrollment: bool
    user: UserKeys | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate(Message):
    """An enrollment begins; nothing is enrolled before the TokenUpdate."""

    topic: str
    serial: str | None
    device_name: str | None
    model: str | None
    model_name: str | None
    product_name: str | None
    os_version: str | None
    build: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUpdate(Message):
    """How to reach this channel from now on, and sometimes the key to the device."""

    topic: str
    push_token: bytes = field(repr=False)
    push_magic: str = field(repr=False)
    unlock_token: Secret | None  # None says nothing about the one we keep
    awaiting_configuration: bool
    not_on_console: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOut(Message):
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAuthenticate(Message):
    """A network user logs in on a Mac; the first message has no digest yet."""

    user: UserKeys
    digest_response: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBootstrapToken(Message):
    bootstrap_token: Secret | None  # None deletes the one we keep
    awaiting_configuration: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBootstrapToken(Message):
    awaiting_configuration: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GetToken(Message):
    token_service_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarativeManagement(Message):
    endpoint: str
    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported(Message):
    """A message type we do not know. It is not kept: a log may not quote what a device sent."""


CheckIn = (
    Authenticate
    | TokenUpdate
    | CheckOut
    | UserAuthenticate
    | SetBootstrapToken
    | GetBootstrapToken
    | GetToken
    | DeclarativeManagement
    | Unsupported
)


def parse(body: bytes) -> CheckIn:
    """The message in the body, or Malformed."""
    keys = load(body)
    who = sender(keys)
    read = READERS.get(take(keys, "MessageType", str))
    return read(keys, who) if read else Unsupported(**who)


class Sender(TypedDict):
    """Who speaks: the device, or one of its users."""

    udid: str
    is_user_enrollment: bool
    user: UserKeys | None


def sender(keys: Mapping[str, Any]) -> Sender:
    """Read from the body; whether it is true, the identity of the request decides."""
    is_user_enrollment = not maybe(keys, "UDID", str)
    udid = name_of(keys, "EnrollmentID" if is_user_enrollment else "UDID")
    return Sender(udid=udid, is_user_enrollment=is_user_enrollment, user=_user(keys))


def _user(keys: Mapping[str, Any]) -> UserKeys | None:
    key = "UserID" if maybe(keys, "UserID", str) is not None else "EnrollmentUserID"
    if maybe(keys, key, str) is None:
        return None
    auth_token = maybe(keys, "AuthToken", str)
    return UserKeys(
        user_id=name_of(keys, key),
        short_name=text(keys, "UserShortName"),
        long_name=text(keys, "UserLongName"),
        auth_token=Secret(auth_token.encode()) if auth_token else None,
    )


def _authenticate(keys: Mapping[str, Any], who: Sender) -> Authenticate:
    return Authenticate(
        **who,
        topic=name_of(keys, "Topic", LONGEST_TOPIC),
        serial=text(keys, "SerialNumber", LONGEST),
        device_name=text(keys, "DeviceName"),
        model=text(keys, "Model", LONGEST),
        model_name=text(keys, "ModelName", LONGEST),
        product_name=text(keys, "ProductName", LONGEST),
        os_version=text(keys, "OSVersion", LONGEST_VERSION),
        build=text(keys, "BuildVersion", LONGEST_VERSION),
    )


def _token_update(keys: Mapping[str, Any], who: Sender) -> TokenUpdate:
    unlock_token, push_token = secret(keys, "UnlockToken"), take(keys, "Token", bytes)
    if len(push_token) > LONGEST_TOKEN:
        raise Malformed("Token is too long")
    return TokenUpdate(
        **who,
        topic=name_of(keys, "Topic", LONGEST_TOPIC),
        push_token=push_token,
        push_magic=name_of(keys, "PushMagic", LONGEST_MAGIC),
        unlock_token=None if who["user"] else unlock_token,  # a user has no key to the device
        awaiting_configuration=maybe(keys, "AwaitingConfiguration", bool) or False,
        not_on_console=maybe(keys, "NotOnConsole", bool),
    )


def _check_out(keys: Mapping[str, Any], who: Sender) -> CheckOut:
    return CheckOut(**who, topic=name_of(keys, "Topic", LONGEST_TOPIC))


def _user_authenticate(keys: Mapping[str, Any], who: Sender) -> UserAuthenticate:
    user = who["user"]
    if user is None:
        raise Malformed("no UserID")
    return UserAuthenticate(
        udid=who["udid"],
        is_user_enrollment=who["is_user_enrollment"],
        user=user,
        digest_response=maybe(keys, "DigestResponse", str) or None,
    )


def _set_bootstrap_token(keys: Mapping[str, Any], who: Sender) -> SetBootstrapToken:
    return SetBootstrapToken(
        **who,
        bootstrap_token=secret(keys, "BootstrapToken"),
        awaiting_configuration=maybe(keys, "AwaitingConfiguration", bool) or False,
    )


def _get_bootstrap_token(keys: Mapping[str, Any], who: Sender) -> GetBootstrapToken:
    return GetBootstrapToken(
        **who, awaiting_configuration=maybe(keys, "AwaitingConfiguration", bool) or False
    )


def _get_token(keys: Mapping[str, Any], who: Sender) -> GetToken:
    return GetToken(**who, token_service_type=name_of(keys, "TokenServiceType"))


def _declarative_management(keys: Mapping[str, Any], who: Sender) -> DeclarativeManagement:
    return DeclarativeManagement(
        **who,
        endpoint=name_of(keys, "Endpoint", LONGEST_ENDPOINT),
        data=maybe(keys, "Data", bytes),
    )


READERS: dict[str, Callable[[Mapping[str, Any], Sender], CheckIn]] = {
    "Authenticate": _authenticate,
    "TokenUpdate": _token_update,
    "CheckOut": _check_out,
    "UserAuthenticate": _user_authenticate,
    "SetBootstrapToken": _set_bootstrap_token,
    "GetBootstrapToken": _get_bootstrap_token,
    "GetToken": _get_token,
    "DeclarativeManagement": _declarative_management,
}
