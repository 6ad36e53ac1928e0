"""A simulated iPhone, iPad or Mac that answers as Apple's devices do, one step at a time.

    phone = Phone("iphone", transport=send, passcode="1234", seed=7)
    phone.install_enrollment_profile(mobileconfig)   # identity (PKCS#12 or SCEP), URLs, topic
    phone.enroll()                                   # Authenticate, TokenUpdate
    phone.connect()                                  # Idle and commands, until an empty answer
    phone.user_sets_passcode("tulips 4711")

`transport` is any callable `(method, url, headers, body) -> (status, headers, body)`; over
Django's test client or with `transport.HttpTransport()`. The phone has no threads, waits for
nothing and takes its time from `clock`, so a test drives it. With `declarative=True` it takes
declarations, and reports by itself (`declarative.py`).

Finer steps: `idle()` asks for one command and gives the `Response`; `answer(body)` carries it out
and gives the result (a dict) without sending it; `report(result)` sends it. A result is kept in
`unsent` until a 2xx took it, and goes out first in the next `connect()`. `authenticate()`,
`token_update()`, `check_out()` and `check_in(message_type)` take keyword overrides of any key
(`None` leaves a key out; a `UserID` makes it a message of a user channel). `put()` sends any bytes
with any signature.

What happens to it: `user_sets_passcode`, `user_forgets_passcode`, `user_removes_profile`,
`restart`, `unlock`, `become_busy`, `become_free`, `lose_network`, `regain_network`,
`new_push_token`, `new_unlock_token`. What can be seen: `screen()`, `compliant`,
`compliant_with_profiles`, `seconds_left`, `blocked`, `installed` (identifiers, without the
enrollment's), `profiles`, `lost_mode`, `lock_message`, `enrolled`, `reachable`,
`wants_to_connect`.
"""

import base64
import contextlib
import json
import plistlib
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.simulator import profile as profiles
from tests.simulator import requirements, scep, signing
from tests.simulator.declarative import Declarations
from tests.simulator.profile import Enrollment, Profile, ProfileRefused
from tests.simulator.requirements import Demands
from tests.simulator.transport import Response, Transport

CHECK_IN = "application/x-apple-aspen-mdm-checkin"
CONNECT = "application/x-apple-aspen-mdm"
UNRECOGNIZED = "com.apple.unrecognized.device"
HOUR = 3600.0
DAY = 86400.0

RIGHT_LOCK = 4
RIGHTS = {
    "ProfileList": 1,
    "InstallProfile": 2,
    "RemoveProfile": 2,
    "ClearPasscode": RIGHT_LOCK,
    "DeviceLock": RIGHT_LOCK,
    "RestartDevice": RIGHT_LOCK,
    "EraseDevice": 8,
    "Restrictions": 512,
    "SecurityInfo": 1024,
}
SUPERVISED_ONLY = {
    "EnableLostMode",
    "DisableLostMode",
    "DeviceLocation",
    "PlayLostModeSound",
    "RestartDevice",
}
NOT_ON_A_MAC = {"ClearPasscode", *SUPERVISED_ONLY} - {"RestartDevice"}
NEVER_NOT_NOW = {
    "DeviceInformation",
    "ProfileList",
    "DeviceLock",
    "EraseDevice",
    "ClearPasscode",
    "ProvisioningProfileList",
    "InstalledApplicationList",
    "Restrictions",
}
NEVER_NOT_NOW_ON_A_MAC = {
    "DeleteUser",
    "DeviceLock",
    "EraseDevice",
    "RestartDevice",
    "ShutDownDevice",
    "UserList",
    "ActivationLockBypassCode",
    "ClearActivationLockBypassCode",
    "UnlockUserAccount",
}

MDM_ERROR = "MCMDMErrorDomain"
PASSCODE_ERROR = "MCPasscodeErrorDomain"
PROFILE_ERROR = "MCProfileErrorDomain"
INSTALLATION_ERROR = "MCInstallationErrorDomain"


class Kind(StrEnum):
    IPHONE = "iphone"
    IPAD = "ipad"
    MAC = "mac"


MODELS = {  # product name, model, name of the model, system, build
    Kind.IPHONE: ("iPhone16,1", "MTU93ZD", "iPhone", "26.1", "23B85"),
    Kind.IPAD: ("iPad14,3", "MNXD3FD", "iPad", "26.1", "23B85"),
    Kind.MAC: ("Mac15,12", "MRXN3D", "MacBook Air", "26.1", "25B78"),
}


class EnrollmentFailed(Exception):
    """The server did not let the device in; carries the status it answered."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(f"{message}: {status}")
        self.status = status


class NotAccepted(Exception):
    """The device does not let its user do this; says why."""


class CommandFailed(Exception):
    """Becomes Status Error with an ErrorChain."""

    def __init__(self, *chain: tuple[str, int, str]) -> None:
        super().__init__(chain[0][2])
        self.chain = [
            {
                "ErrorDomain": domain,
                "ErrorCode": code,
                "LocalizedDescription": text,
                "USEnglishDescription": text,
            }
            for domain, code, text in chain
        ]


class NotUnderstood(Exception):
    """Becomes Status CommandFormatError."""


@dataclass(frozen=True, slots=True)
class Done:
    """One command that the device took, and what it said to it."""

    request_type: str
    status: str
    command_uuid: str
    result: Mapping[str, Any]

    @property
    def error_codes(self) -> list[int]:
        return [one["ErrorCode"] for one in self.result.get("ErrorChain", ())]


class Phone:
    def __init__(
        self,
        kind: str = Kind.IPHONE,
        *,
        transport: Transport,
        passcode: str | None = None,
        seed: int | str | None = None,
        name: str | None = None,
        supervised: bool = True,
        shared_ipad: bool = False,
        user_enrollment: bool = False,
        cellular: bool = False,
        declarative: bool = False,
        hour: float = HOUR,
        clock: Callable[[], float] = time.time,
        form: signing.Form = signing.USUAL,
    ) -> None:
        self.kind = Kind(kind)
        self.transport = transport
        self.supervised = supervised or shared_ipad
        self.shared_ipad = shared_ipad
        self.user_enrollment = user_enrollment
        self.cellular = cellular
        self.declarative = declarative
        self.declarations = Declarations()
        self.hour = hour
        self.clock = clock
        self.form = form
        self.extra_headers: dict[str, str] = {}  # what a proxy would add
        self._chance = random.Random() if seed is None else random.Random(f"phone {seed}")

        product, model, model_name, system, build = MODELS[self.kind]
        self.product_name, self.model, self.model_name = product, model, model_name
        self.os_version, self.build_version = system, build
        self.name = name or model_name
        self.serial = "".join(self._chance.choices("CDFGHJKLMNPQRTVWXY0123456789", k=10))
        self.udid = self._new_udid()
        self.enrollment_id = self._new_uuid() if user_enrollment else None

        self.passcode = passcode
        self.passcode_set_at = clock()
        self.earlier_passcodes: list[str] = []
        self.forgotten = False
        self.exchange_policy: dict[str, Any] | None = None  # what a mail account demands

        self.profiles: dict[str, Profile] = {}
        self.enrollment: Enrollment | None = None
        self.enrolled = False
        self.push_token = self._chance.randbytes(32)
        self.push_magic = self._new_uuid()
        self.unlock_token = self._fresh_unlock_token()

        self.online = True
        self.busy = False
        self.locked = False
        self.restarted_and_locked = False
        self.lock_message: str | None = None
        self.lost_mode: str | None = None
        self.erased = False
        self.grace_started_at: float | None = None

        self.unsent: dict[str, Any] | None = None
        self.last_status: str | None = None
        self.last_contact_at: float | None = None
        self._afterwards: Callable[[], None] | None = None

    # Enrollment

    def install_enrollment_profile(self, data: bytes) -> None:
        """Take identity, addresses and rights, or ProfileRefused; nothing is sent yet."""
        self.erased = False
        self.enrollment = profiles.enrollment(data, scep=self._ask_scep)
        self.profiles[self.enrollment.profile.identifier] = self.enrollment.profile

    def _ask_scep(self, content: Mapping[str, Any]) -> profiles.Identity:
        try:
            return scep.identity(self.transport, content)
        except (OSError, scep.Refused) as reason:
            raise ProfileRefused(f"The SCEP server gave no certificate: {reason}") from None

    def enroll(self) -> None:
        """Authenticate, then TokenUpdate; EnrollmentFailed if the server takes either badly."""
        for step in (self.authenticate, self.token_update):
            response = step()
            if not response.ok:
                self._forget_enrollment()
                raise EnrollmentFailed(f"The server refused {step.__name__}", response.status)

    def authenticate(self, **overrides: Any) -> Response:
        keys = {
            "DeviceName": self.name,
            "Model": self.model,
            "ModelName": self.model_name,
            "OSVersion": self.os_version,
            "BuildVersion": self.build_version,
            "ProductName": self.product_name,
            "SerialNumber": None if self.user_enrollment else self.serial,
        }
        if not self._enrollment.rights & 16:
            keys = dict.fromkeys(keys)
        return self.check_in(
            "Authenticate", **{**keys, "Topic": self._enrollment.topic, **overrides}
        )

    def token_update(self, **overrides: Any) -> Response:
        """With an UnlockToken iff this device gives one to a server with these rights."""
        gives = self.gives_unlock_token and "UserID" not in overrides
        keys = {
            "Topic": self._enrollment.topic,
            "Token": self.push_token,
            "PushMagic": self.push_magic,
            "UnlockToken": self.unlock_token if gives else None,
        }
        response = self.check_in("TokenUpdate", **{**keys, **overrides})
        if response.ok and "UserID" not in overrides:
            self.enrolled = True
        return response

    def check_out(self, **overrides: Any) -> Response:
        return self.check_in("CheckOut", **{"Topic": self._enrollment.topic, **overrides})

    def check_in(self, message_type: str, **keys: Any) -> Response:
        """Any check-in message; keys that are None are left out."""
        message = {"MessageType": message_type, **self._identifier(), **keys}
        return self.put(self._enrollment.check_in_url, CHECK_IN, _plist(message))

    @property
    def gives_unlock_token(self) -> bool:
        return not (self.kind is Kind.MAC or self.shared_ipad or self.user_enrollment) and bool(
            self._enrollment.rights & RIGHT_LOCK
        )

    @property
    def certificate(self) -> x509.Certificate:
        return self._enrollment.certificate

    # The command channel

    def connect(self, *, max_rounds: int = 50) -> list[Done]:
        """What a device does after a push: what it had to say or Idle, then command by command."""
        done: list[Done] = []
        if not (self.enrolled and self.reachable):
            return done
        if self.declarations.is_due:
            self._sync()
        self.report_status()
        message = self.unsent or self._message(Status="Idle")
        while True:
            identity = self.enrollment
            try:
                response = self.report(message)
            except OSError:
                break  # nobody answered; the result is kept
            if not (response.ok and response.body) or len(done) == max_rounds:
                break
            if not (self.enrolled and self.reachable and self.enrollment is identity):
                break  # it restarted, was erased or enrolled anew: this session is over
            message = self.answer(response.body)
            done.append(
                Done(
                    request_type=_request_type(response.body),
                    status=message["Status"],
                    command_uuid=message.get("CommandUUID") or "",
                    result=message,
                )
            )
        return done

    def idle(self, **overrides: Any) -> Response:
        """Ask for a command; carry nothing out."""
        return self.report({**self._message(Status="Idle"), **overrides})

    def report(self, message: Mapping[str, Any]) -> Response:
        """Send a status or a result; a result that gets no 2xx is kept in `unsent`."""
        is_the_result = self.unsent is not None and all(
            message.get(key) == self.unsent.get(key) for key in ("Status", "CommandUUID")
        )
        erased = is_the_result and self._afterwards == self._erase
        try:
            response = self.put(self._enrollment.server_url, CONNECT, _plist(message))
        finally:
            if erased:  # Apple sends this result once and never again
                self._settle()
        if response.ok:
            self.last_status = message.get("Status")
            if is_the_result and not erased:
                self._settle()
        return response

    def answer(self, command: bytes) -> dict[str, Any]:
        """Carry a command out; the result is not sent yet."""
        envelope = profiles.plist(command) or {}
        command_uuid, asked = envelope.get("CommandUUID"), envelope.get("Command")
        request_type = asked.get("RequestType") if isinstance(asked, dict) else None
        if not (isinstance(command_uuid, str) and asked and isinstance(request_type, str)):
            known = command_uuid if isinstance(command_uuid, str) else None
            self.unsent = self._message(Status="CommandFormatError", CommandUUID=known)
            return self.unsent
        keys: dict[str, Any] = {"CommandUUID": command_uuid, "Status": "Acknowledged"}
        try:
            if self.refuses_now(request_type):
                keys["Status"] = "NotNow"
            else:
                keys |= self._carry_out(request_type, asked)
        except NotUnderstood:
            keys["Status"] = "CommandFormatError"
        except CommandFailed as failure:
            keys |= {"Status": "Error", "ErrorChain": failure.chain}
        self.unsent = self._message(**keys)
        return self.unsent

    def refuses_now(self, request_type: str) -> bool:
        """Whether it says NotNow: busy, locked, or not unlocked since it was started."""
        if self.kind is Kind.MAC:
            return self.busy and request_type not in NEVER_NOT_NOW_ON_A_MAC
        closed = self.busy or self.restarted_and_locked or (self.locked and not self.lost_mode)
        return closed and request_type not in NEVER_NOT_NOW | SUPERVISED_ONLY

    def put(
        self,
        url: str,
        content_type: str,
        body: bytes,
        *,
        signature: str | None = None,
        signed: bool = True,
    ) -> Response:
        """One request. `signature` replaces the device's own; `signed=False` leaves it out."""
        if not self.reachable:
            raise ConnectionError("The device has no network.")
        headers = {"Content-Type": content_type, "User-Agent": "MDM/1.0", **self.extra_headers}
        if signature is not None:
            headers["Mdm-Signature"] = signature
        elif signed and self._enrollment.sign_messages:
            headers["Mdm-Signature"] = self.sign(body)
        response = Response(*self.transport("PUT", url, headers, body))
        self.last_contact_at = self.clock()
        if response.status == 401 or _says_unrecognized(response):
            self._forget_enrollment()
        return response

    def sign(self, body: bytes) -> str:
        enrollment = self._enrollment
        return signing.header(
            body, key=enrollment.key, certificate=enrollment.certificate, form=self.form
        )

    def hears_push(self, magic: str) -> bool:
        """Whether a push with this magic makes it connect."""
        return self.enrolled and self.reachable and magic == self.push_magic

    @property
    def reachable(self) -> bool:
        return self.online and (self.cellular or not self.restarted_and_locked)

    @property
    def wants_to_connect(self) -> bool:
        """It comes by itself when NotNow was its last word and it is free again."""
        return (
            self.enrolled
            and self.reachable
            and (self.unsent is not None or self.last_status == "NotNow")
            and not self.refuses_now("SecurityInfo")
        )

    # What its user and the world do

    def user_sets_passcode(self, passcode: str | None) -> None:
        """Change it, or switch it off with None; NotAccepted if the device will not have it."""
        self._must_be_in_use()
        if self.forgotten:
            raise NotAccepted("The old passcode must be entered first.")
        if any(one.forbids_changing_the_passcode for one in self.profiles.values()):
            raise NotAccepted("A restriction forbids changing the passcode.")
        demands = self.demands
        if faults := demands.faults(passcode or None):
            raise NotAccepted(" ".join(faults))
        recent = [*self.earlier_passcodes, *([self.passcode] if self.passcode else [])]
        if demands.history and passcode in recent[-demands.history :]:
            raise NotAccepted("This passcode has been used before.")
        self.earlier_passcodes = recent
        self._passcode_becomes(passcode or None)
        self.report_status()

    def user_forgets_passcode(self) -> None:
        """From now only a ClearPasscode helps."""
        if not self.passcode:
            raise NotAccepted("There is no passcode to forget.")
        self.forgotten = True
        self.locked = True

    def user_removes_profile(self) -> None:
        """Remove the enrollment; a CheckOut goes out once, if there is a network."""
        if not self.enrollment:
            raise NotAccepted("There is no enrollment profile.")
        if self.enrollment.profile.content.get("PayloadRemovalDisallowed") and self.supervised:
            raise NotAccepted("The profile cannot be removed.")
        self._leave()

    def restart(self) -> None:
        """A phone with a passcode has no network until it is unlocked."""
        self.busy = False
        self.lock_message = None
        self.locked = self.restarted_and_locked = bool(self.passcode) and self.kind is not Kind.MAC

    def unlock(self, passcode: str | None) -> None:
        if self.lost_mode is not None:
            raise NotAccepted("The device is in Lost Mode.")
        if self.forgotten or passcode != self.passcode:
            raise NotAccepted("Wrong passcode.")
        self.locked = self.restarted_and_locked = False
        self.lock_message = None

    def become_busy(self) -> None:
        self.busy = True

    def become_free(self) -> None:
        self.busy = False

    def lose_network(self) -> None:
        self.online = False

    def regain_network(self) -> None:
        self.online = True

    def new_push_token(self) -> None:
        """The old one is dead; a `token_update()` tells the server."""
        self.push_token = self._chance.randbytes(32)

    def new_unlock_token(self) -> None:
        """Earlier ones open nothing any more."""
        self.unlock_token = self._fresh_unlock_token()

    # Declarative management

    def report_status(self, *, full: bool = False) -> bool:
        """Say by itself what has changed, if it was ever told to; whether it said something."""
        if not (self.enrolled and self.reachable and self.declarations.token):
            return False
        said: dict[str, Any] = {}
        if self.kind is not Kind.MAC:
            said = {
                "passcode.is-present": bool(self.passcode),
                "passcode.is-compliant": self.compliant,
            }
        try:
            return self.declarations.report(self._declarative, said, full=full)
        except OSError:
            return False  # the next connection tells it

    def _sync(self, token: str | None = None) -> None:
        with contextlib.suppress(OSError):  # it stays due
            if self.declarations.sync(self._declarative, token):
                self._look_at_passcode()
                self.report_status()

    def _declarative(self, endpoint: str, data: bytes | None) -> Response:
        return self.check_in("DeclarativeManagement", Endpoint=endpoint, Data=data)

    def _declarative_management(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if not self.declarative:
            raise CommandFailed((MDM_ERROR, 12021, "Unknown request type."))
        token = None
        if (data := command.get("Data")) is not None:
            try:
                token = str(json.loads(data)["SyncTokens"]["DeclarationsToken"])
            except (KeyError, TypeError, ValueError):
                raise NotUnderstood from None
        self._afterwards = lambda: self._sync(token)
        return {}

    # What can be seen

    @property
    def installed(self) -> list[str]:
        """Identifiers of the profiles, in order of installation, without the enrollment's own."""
        own = self.enrollment.profile.identifier if self.enrollment else None
        return [identifier for identifier in self.profiles if identifier != own]

    @property
    def demands(self) -> Demands:
        """What profiles and accounts together demand."""
        return Demands.of(self._passcode_payloads(accounts=True))

    @property
    def compliant(self) -> bool:
        return not self._faults(self.demands)

    @property
    def compliant_with_profiles(self) -> bool:
        return not self._faults(Demands.of(self._passcode_payloads(accounts=False)))

    @property
    def seconds_left(self) -> float | None:
        """Of its own countdown; None when none runs."""
        if self.grace_started_at is None or self.compliant:
            return None
        return max(0.0, self.grace_started_at + self.hour - self.clock())

    @property
    def blocked(self) -> bool:
        """The hour is over: no app starts before the passcode is changed."""
        return self.seconds_left == 0

    def screen(self) -> str:
        """What its user sees, in words."""
        if self.erased:
            return "Hello. The device is erased and waits to be set up."
        if self.lost_mode is not None:
            return f"Lost {self.model_name}. {self.lost_mode}"
        if self.locked or self.restarted_and_locked:
            return self._lock_screen()
        left = self.seconds_left
        if left is None:
            return self._home_screen()
        task = "set a passcode" if not self.passcode else "change the passcode"
        if not left:
            return f"Blocked: {task} now. No app starts until then."
        return f"Prompt: {task} within {_in_words(left)}. «Later» | «Continue»"

    def _lock_screen(self) -> str:
        words = "Locked. Enter the passcode."
        if self.restarted_and_locked:
            words = "Locked after a restart. Enter the passcode to unlock."
            words += "" if self.cellular else " No network until then."
        if self.forgotten:
            words += " The user has forgotten it."
        return f"{words} Message: {self.lock_message}" if self.lock_message else words

    def _home_screen(self) -> str:
        if self.kind is not Kind.MAC:
            return "Home screen."
        if self.compliant:
            return "Desktop."
        return "Desktop. The password does not meet the policy; its next change must."

    # Commands

    def _carry_out(self, request_type: str, command: Mapping[str, Any]) -> dict[str, Any]:
        handler = COMMANDS.get(request_type)
        unknown = handler is None or (
            (self.kind is Kind.MAC and request_type in NOT_ON_A_MAC)
            or (self.shared_ipad and request_type == "ClearPasscode")
        )
        if handler is None or unknown:
            raise CommandFailed((MDM_ERROR, 12021, "Unknown request type."))
        right = RIGHTS.get(request_type, 0)
        own = self._enrollment.profile.identifier
        removes_itself = request_type == "RemoveProfile" and command.get("Identifier") == own
        if right & ~self._enrollment.rights and not removes_itself:
            raise CommandFailed((MDM_ERROR, 12007, "The server is not authorized to do this."))
        if request_type in SUPERVISED_ONLY and not self.supervised and self.kind is not Kind.MAC:
            raise CommandFailed((MDM_ERROR, 12021, "Only for supervised devices."))
        return handler(self, command)

    def _device_information(self, command: Mapping[str, Any]) -> dict[str, Any]:
        queries = command.get("Queries")
        if not isinstance(queries, list):
            raise NotUnderstood
        known: dict[str, Any] = {}
        if self._enrollment.rights & 16:
            known = {
                "UDID": None if self.user_enrollment else self.udid,
                "SerialNumber": None if self.user_enrollment else self.serial,
                "DeviceName": self.name,
                "OSVersion": self.os_version,
                "BuildVersion": self.build_version,
                "ProductName": self.product_name,
                "Model": self.model,
                "ModelName": self.model_name,
                "IsSupervised": self.supervised,
                "IsMultiUser": None if self.kind is Kind.MAC else self.shared_ipad,
                "AwaitingConfiguration": False,
                "IsMDMLostModeEnabled": (
                    None
                    if self.kind is Kind.MAC or self.user_enrollment
                    else self.lost_mode is not None
                ),
                "IsAppleSilicon": True if self.kind is Kind.MAC else None,
            }
        answers = {key: known[key] for key in queries if known.get(key) is not None}
        return {"QueryResponses": answers}

    def _security_info(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        if self.kind is Kind.MAC:
            return {
                "SecurityInfo": {
                    "FDE_Enabled": True,
                    "SystemIntegrityProtectionEnabled": True,
                    "FirewallSettings": {"FirewallEnabled": True, "BlockAllIncoming": False},
                    "ManagementStatus": {
                        "EnrolledViaDEP": False,
                        "UserApprovedEnrollment": True,
                        "IsUserEnrollment": self.user_enrollment,
                    },
                }
            }
        info: dict[str, Any] = {
            "PasscodeCompliant": self.compliant,
            "ManagementStatus": {"IsUserEnrollment": self.user_enrollment},
        }
        if not self.user_enrollment:
            info |= {
                "HardwareEncryptionCaps": 3,
                "PasscodePresent": bool(self.passcode),
                "PasscodeCompliantWithProfiles": self.compliant_with_profiles,
            }
        return {"SecurityInfo": info}

    def _install_profile(self, command: Mapping[str, Any]) -> dict[str, Any]:
        payload = command.get("Payload")
        if not isinstance(payload, bytes):
            raise NotUnderstood
        try:
            profile = profiles.read(payload)
            if profile.of_type(profiles.MDM):
                self._renew(profiles.enrollment(payload, scep=self._ask_scep))
                return {}
        except ProfileRefused as reason:
            raise CommandFailed(
                (INSTALLATION_ERROR, 4001, "The profile could not be installed."),
                (PROFILE_ERROR, 1000, str(reason)),
            ) from None
        self.profiles.pop(profile.identifier, None)
        self.profiles[profile.identifier] = profile
        self._look_at_passcode()
        return {}

    def _renew(self, renewed: Enrollment) -> None:
        """The enrollment profile again: same place and topic, no more rights; checks in anew."""
        old = self._enrollment
        if renewed.profile.identifier != old.profile.identifier:
            raise CommandFailed((MDM_ERROR, 12001, "The device is already managed."))
        if (renewed.topic, renewed.server_url, renewed.check_in_url) != (
            old.topic,
            old.server_url,
            old.check_in_url,
        ):
            raise CommandFailed((MDM_ERROR, 12009, "Topic and addresses may not change."))
        if renewed.rights & ~old.rights:
            raise CommandFailed((MDM_ERROR, 12012, "An update may not add access rights."))

        def check_in_again() -> None:
            self.enrollment = renewed
            self.new_unlock_token()
            try:
                renewed_there = self.authenticate().ok and self.token_update().ok
            except OSError:
                renewed_there = False
            if renewed_there:
                self.profiles[renewed.profile.identifier] = renewed.profile
            elif self.enrollment:  # it failed: the old one stays
                self.enrollment = old

        self._afterwards = check_in_again

    def _remove_profile(self, command: Mapping[str, Any]) -> dict[str, Any]:
        identifier = command.get("Identifier")
        if not isinstance(identifier, str):
            raise NotUnderstood
        if identifier not in self.profiles:
            raise CommandFailed((MDM_ERROR, 12075, "The profile is not installed."))
        if identifier == self._enrollment.profile.identifier:
            self._afterwards = self._leave
        else:
            del self.profiles[identifier]
            self._look_at_passcode()
        return {}

    def _profile_list(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {"ProfileList": [one.listed() for one in self.profiles.values()]}

    def _clear_passcode(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Works on a locked device too, with its own token byte for byte and nothing else."""
        token = command.get("UnlockToken")
        if not isinstance(token, bytes):
            raise NotUnderstood
        if self.lost_mode is not None:
            raise CommandFailed((MDM_ERROR, 12078, "Not valid in Lost Mode."))
        if not self.gives_unlock_token or token != self.unlock_token:
            raise CommandFailed(
                (MDM_ERROR, 12018, "The escrow key bag does not open this device."),
                (PASSCODE_ERROR, 5013, "The passcode cannot be cleared."),
            )
        self._passcode_becomes(None)
        return {}

    def _device_lock(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if self.kind is Kind.MAC:
            if len(str(command.get("PIN", ""))) != 6:
                raise CommandFailed((MDM_ERROR, 12008, "A Mac needs a PIN of six characters."))
            self.locked, self.lock_message = True, command.get("Message")
            return {}
        if self.lost_mode is not None:
            return {"MessageResult": "DeviceInLostMode"}
        if not self.passcode:
            return {"MessageResult": "NoPasscodeSet"}
        self.locked = True
        said = (command.get("Message"), command.get("PhoneNumber"))
        self.lock_message = " · ".join(one for one in said if one) or None
        return {"MessageResult": "Success"}

    def _enable_lost_mode(self, command: Mapping[str, Any]) -> dict[str, Any]:
        said = [command.get(key) for key in ("Message", "PhoneNumber", "Footnote")]
        if not any(said[:2]):
            raise CommandFailed((MDM_ERROR, 12066, "Lost Mode needs a message or a number."))
        self.lost_mode = " · ".join(one for one in said if one)
        return {}

    def _disable_lost_mode(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self._must_be_lost()
        self.lost_mode = None
        self.locked = bool(self.passcode)
        return {}

    def _device_location(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self._must_be_lost()
        return {
            "Latitude": 48.137 + self._chance.uniform(-0.01, 0.01),
            "Longitude": 11.575 + self._chance.uniform(-0.01, 0.01),
            "HorizontalAccuracy": 12.0,
            "VerticalAccuracy": 4.0,
            "Altitude": 519.0,
            "Speed": -1.0,
            "Course": -1.0,
            "Timestamp": datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _play_sound(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self._must_be_lost()
        return {}

    def _restart_device(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self._afterwards = self.restart
        return {}

    def _erase_device(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self._afterwards = self._erase
        return {}

    def _restrictions(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        values = requirements.strictest(self._passcode_payloads(accounts=True))
        flags = {key: value for key, value in values.items() if isinstance(value, bool)}
        return {
            "GlobalRestrictions": {
                "restrictedBool": {key: {"value": value} for key, value in flags.items()},
                "restrictedValue": {
                    key: {"value": value} for key, value in values.items() if key not in flags
                },
            }
        }

    def _settings(self, command: Mapping[str, Any]) -> dict[str, Any]:
        items = command.get("Settings")
        if not isinstance(items, list):
            raise NotUnderstood
        return {"Settings": [{"Item": one.get("Item"), "Status": "Acknowledged"} for one in items]}

    def _nothing_more(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    # Within

    @property
    def _enrollment(self) -> Enrollment:
        if self.enrollment is None:
            raise NotAccepted("The device has no enrollment profile.")
        return self.enrollment

    def _identifier(self) -> dict[str, Any]:
        return {"EnrollmentID": self.enrollment_id} if self.enrollment_id else {"UDID": self.udid}

    def _message(self, **keys: Any) -> dict[str, Any]:
        return {**self._identifier(), **keys}

    def _settle(self) -> None:
        """The server has the result: forget it, and do what was to follow."""
        self.unsent = None
        then, self._afterwards = self._afterwards, None
        if then:
            then()
        self.report_status()

    def _passcode_payloads(self, *, accounts: bool) -> list[dict[str, Any]]:
        if self.shared_ipad:
            return []  # the payload has no effect there
        payloads = [one for each in self.profiles.values() for one in each.passcode_payloads]
        payloads += self.declarations.passcode_payloads()
        if payloads and self.user_enrollment:
            payloads = [{"allowSimple": False, "forcePIN": True, "minLength": 6}]
        if accounts and self.exchange_policy is not None:
            payloads.append(self.exchange_policy)
        return payloads

    def _faults(self, demands: Demands) -> list[str]:
        faults = demands.faults(self.passcode)
        age = self.clock() - self.passcode_set_at
        if self.passcode and demands.days and age > demands.days * DAY:
            faults.append("The passcode is too old.")
        return faults

    def _look_at_passcode(self) -> None:
        """Start the countdown when the passcode stops being enough, end it when it is again."""
        if self.compliant or self.kind is Kind.MAC:
            self.grace_started_at = None
        elif self.grace_started_at is None:
            self.grace_started_at = self.clock()

    def _passcode_becomes(self, passcode: str | None) -> None:
        self.passcode = passcode
        self.passcode_set_at = self.clock()
        self.forgotten = self.locked = self.restarted_and_locked = False
        self.lock_message = None
        self._look_at_passcode()

    def _must_be_in_use(self) -> None:
        if self.erased:
            raise NotAccepted("The device is erased.")
        if self.lost_mode is not None:
            raise NotAccepted("The device is in Lost Mode.")
        if self.locked or self.restarted_and_locked:
            raise NotAccepted("The device is locked.")

    def _must_be_lost(self) -> None:
        if self.lost_mode is None:
            raise CommandFailed((MDM_ERROR, 12067, "The device is not in Lost Mode."))

    def _leave(self) -> None:
        if self._enrollment.check_out_when_removed and self.enrolled and self.reachable:
            with contextlib.suppress(OSError):  # one attempt is all a device makes
                self.check_out()
        self._forget_enrollment()

    def _forget_enrollment(self) -> None:
        """The enrollment goes, and with it everything that it brought."""
        self.enrollment = None
        self.enrolled = False
        self.profiles.clear()
        self.declarations = Declarations(cannot=self.declarations.cannot)
        self.unsent = self.last_status = self._afterwards = None
        self.grace_started_at = None

    def _erase(self) -> None:
        self._forget_enrollment()
        self.passcode = self.lost_mode = self.lock_message = None
        self.forgotten = self.locked = self.restarted_and_locked = self.busy = False
        self.earlier_passcodes.clear()
        self.new_push_token()
        self.new_unlock_token()
        self.push_magic = self._new_uuid()
        self.erased = True

    def _new_uuid(self) -> str:
        return str(uuid.UUID(bytes=self._chance.randbytes(16), version=4)).upper()

    def _new_udid(self) -> str:
        if self.kind is Kind.MAC:
            return self._new_uuid()
        return f"00008130-{self._chance.randbytes(8).hex().upper()}"

    def _fresh_unlock_token(self) -> bytes:
        """An escrow key bag: tags of four letters, a length, a value."""

        def tag(name: bytes, value: bytes) -> bytes:
            return name + len(value).to_bytes(4, "big") + value

        number = [value.to_bytes(4, "big") for value in range(6)]
        bag = tag(b"VERS", number[5]) + tag(b"TYPE", number[2])
        bag += tag(b"UUID", self._chance.randbytes(16)) + tag(b"HMCK", self._chance.randbytes(40))
        bag += tag(b"WRAP", number[1]) + tag(b"SALT", self._chance.randbytes(20))
        for key_class in range(1, 12):
            bag += tag(b"UUID", self._chance.randbytes(16))
            bag += tag(b"CLAS", key_class.to_bytes(4, "big")) + tag(b"WRAP", number[3])
            bag += tag(b"WPKY", self._chance.randbytes(40))
        return tag(b"DATA", bag) + tag(b"SIGN", self._chance.randbytes(20))

    # Memory, for a fleet that is started again

    def to_state(self) -> dict[str, Any]:
        """All of it as JSON. Holds its private key and its UnlockToken: keep it private."""
        enrollment = self.enrollment
        return {
            **{key: getattr(self, key) for key in PLAIN},
            **{key: base64.b64encode(getattr(self, key)).decode() for key in BINARY},
            "profiles": [base64.b64encode(one.raw).decode() for one in self.profiles.values()],
            "enrollment": base64.b64encode(enrollment.profile.raw).decode()
            if enrollment
            else None,
            "identity": _written(enrollment.key, enrollment.certificate) if enrollment else None,
            "declarations": self.declarations.to_state(),
            "unsent": base64.b64encode(_plist(self.unsent)).decode() if self.unsent else None,
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], *, transport: Transport, **options: Any
    ) -> "Phone":
        phone = cls._of_kind(state["kind"], transport=transport, **options)
        phone._remember(state)
        return phone

    @classmethod
    def _of_kind(cls, kind: str, **options: Any) -> "Phone":
        return cls(kind, **options)

    def _remember(self, state: Mapping[str, Any]) -> None:
        for key in PLAIN:
            setattr(self, key, state[key])
        self.kind = Kind(self.kind)
        for key in BINARY:
            setattr(self, key, base64.b64decode(state[key]))
        self.declarations = Declarations.from_state(state["declarations"])
        for raw in state["profiles"]:
            profile = profiles.read(base64.b64decode(raw))
            self.profiles[profile.identifier] = profile
        if state["enrollment"]:
            kept = _read(state["identity"]) if state.get("identity") else None
            self.enrollment = profiles.enrollment(
                base64.b64decode(state["enrollment"]),
                scep=(lambda _content: kept) if kept else profiles.no_scep,
            )
        if state["unsent"]:
            self.unsent = plistlib.loads(base64.b64decode(state["unsent"]))


BINARY = ("push_token", "unlock_token")
PLAIN = (
    *("kind", "name", "udid", "serial", "enrollment_id", "push_magic"),
    *("product_name", "model", "model_name", "os_version", "build_version"),
    *("supervised", "shared_ipad", "user_enrollment", "cellular", "declarative"),
    *("passcode", "passcode_set_at", "earlier_passcodes", "forgotten", "exchange_policy"),
    *("enrolled", "online", "busy", "locked", "restarted_and_locked", "lock_message"),
    *("lost_mode", "erased", "grace_started_at", "last_status", "last_contact_at"),
)

COMMANDS: dict[str, Callable[[Phone, Mapping[str, Any]], dict[str, Any]]] = {
    "ClearPasscode": Phone._clear_passcode,
    "DeclarativeManagement": Phone._declarative_management,
    "DeviceConfigured": Phone._nothing_more,
    "DeviceInformation": Phone._device_information,
    "DeviceLocation": Phone._device_location,
    "DeviceLock": Phone._device_lock,
    "DisableLostMode": Phone._disable_lost_mode,
    "EnableLostMode": Phone._enable_lost_mode,
    "EraseDevice": Phone._erase_device,
    "InstallProfile": Phone._install_profile,
    "PlayLostModeSound": Phone._play_sound,
    "ProfileList": Phone._profile_list,
    "RemoveProfile": Phone._remove_profile,
    "RestartDevice": Phone._restart_device,
    "Restrictions": Phone._restrictions,
    "SecurityInfo": Phone._security_info,
    "Settings": Phone._settings,
}


def _plist(keys: Mapping[str, Any]) -> bytes:
    return plistlib.dumps({key: value for key, value in keys.items() if value is not None})


def _written(key: signing.PrivateKey, certificate: x509.Certificate) -> str:
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


def _read(pem: str) -> profiles.Identity:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, signing.PrivateKey)
    return key, x509.load_pem_x509_certificate(pem.encode())


def _request_type(command: bytes) -> str:
    asked = (profiles.plist(command) or {}).get("Command")
    return str(asked.get("RequestType", "")) if isinstance(asked, dict) else ""


def _says_unrecognized(response: Response) -> bool:
    """The modern way of a server to say that it does not know the device."""
    if response.status != 403:
        return False
    try:
        body = json.loads(response.body)
    except ValueError:
        body = profiles.plist(response.body)
    return isinstance(body, dict) and body.get("code") == UNRECOGNIZED


def _in_words(seconds: float) -> str:
    if seconds >= 120:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds)} seconds"
