"""Macs and Shared iPads with people on them, each of whom speaks to the server for himself.

    mac = Mac(transport=send)
    mac.install_enrollment_profile(mobileconfig)
    mac.enroll()
    anna = mac.add_user("anna", "Anna Berg")                         # the local user who enrolled
    nora = mac.add_user("nora", "Nora Lind", network=True, password="sesame")
    nora.log_in("sesame")      # UserAuthenticate, TokenUpdate, then what is urgent
    nora.connect()             # her own channel: Idle and commands, until an empty answer

A user has a push token, a magic and profiles of their own, and signs with the identity of the
device. `Mac` and `SharedIPad` are `Phone`s that answer UserList, DeleteUser, LogOutUser and
UnlockUserAccount as well; a Mac keeps a bootstrap token.
"""

import base64
import hashlib
import plistlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.simulator import profile as profiles
from tests.simulator.phone import CONNECT, CommandFailed, Done, Kind, NotUnderstood, Phone
from tests.simulator.profile import Profile, ProfileRefused
from tests.simulator.transport import Response

SHARED_IPAD_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
USER_CHANNELS = "com.apple.mdm.per-user-connections"
MDM_ERROR = "MCMDMErrorDomain"
MOST_TRIES = 10
RESTRICTIONS = "com.apple.applicationaccess"
KEPT = (
    *("short_name", "long_name", "password", "network", "user_id", "uid", "push_magic"),
    *("auth_token", "managed", "logged_in", "awaiting_configuration", "in_setup_assistant"),
    *("keychain_locked", "unsynced", "wrong_passwords"),
)
NEEDS_KEYCHAIN = {"InstallProfile", "RemoveProfile"}


class WithUsers(Phone):
    """What a Mac and a Shared iPad have in common."""

    def __init__(self, kind: str, **how: Any) -> None:
        super().__init__(kind, **how)
        self.users: dict[str, User] = {}

    def add_user(self, short_name: str, long_name: str = "", **how: Any) -> "User":
        user = User(self, short_name, long_name or short_name.title(), **how)
        self.users[short_name] = user
        return user

    def to_state(self) -> dict[str, Any]:
        return {**super().to_state(), "users": [user.to_state() for user in self.users.values()]}

    def _remember(self, state: Mapping[str, Any]) -> None:
        super()._remember(state)
        for kept in state.get("users", []):
            user = self.add_user(kept["short_name"], kept["long_name"])
            user.remember(kept)

    def _forget_enrollment(self) -> None:
        """Who is on it stays; nobody is managed, and what came to them has gone."""
        super()._forget_enrollment()
        for user in self.users.values():
            user.forget()

    @property
    def session(self) -> "User | None":
        """Who sits before it."""
        return next((user for user in self.users.values() if user.logged_in), None)

    @property
    def server_capabilities(self) -> list[str]:
        """What the enrollment profile says that the server understands."""
        if self.enrollment is None:
            return []
        return list(self.enrollment.profile.of_type(profiles.MDM)[0].get("ServerCapabilities", []))

    def _carry_out(self, request_type: str, command: Mapping[str, Any]) -> dict[str, Any]:
        handler = self._account_commands().get(request_type)
        if handler is None:
            return super()._carry_out(request_type, command)
        return handler(command)

    def _account_commands(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {"UserList": self._user_list, "DeleteUser": self._delete_user}

    def _user_list(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        if self.kind is Kind.MAC and not self.supervised:
            raise CommandFailed((MDM_ERROR, 12070, "Could not list the users."))
        return {"Users": [user.listed() for user in self.users.values()]}

    def _delete_user(self, command: Mapping[str, Any]) -> dict[str, Any]:
        user = self._named(command)
        if user.logged_in:
            raise CommandFailed((MDM_ERROR, 12072, "The user is logged in."))
        if user.unsynced and not command.get("ForceDeletion"):
            raise CommandFailed((MDM_ERROR, 12073, "The user has data to sync."))
        del self.users[user.short_name]
        return {}

    def _named(self, command: Mapping[str, Any]) -> "User":
        name = command.get("UserName")
        if not isinstance(name, str):
            raise NotUnderstood
        if name not in self.users:
            raise CommandFailed((MDM_ERROR, 12071, "There is no such user."))
        return self.users[name]


class Mac(WithUsers):
    """A Mac: local users, network users, and a bootstrap token."""

    def __init__(self, **how: Any) -> None:
        super().__init__("mac", **how)
        self.bootstrap_token = self._chance.randbytes(48)

    @classmethod
    def _of_kind(cls, kind: str, **options: Any) -> "Mac":  # noqa: ARG003 - there is one kind
        return cls(**options)

    def escrow_bootstrap_token(self, **overrides: Any) -> Response:
        return self.check_in(
            "SetBootstrapToken", **{"BootstrapToken": self.bootstrap_token, **overrides}
        )

    def delete_bootstrap_token(self) -> Response:
        return self.check_in("SetBootstrapToken")

    def fetch_bootstrap_token(self) -> bytes | None:
        """What the server gives back; None where it has none."""
        response = self.check_in("GetBootstrapToken")
        keys = plistlib.loads(response.body) if response.ok and response.body else {}
        token = keys.get("BootstrapToken")
        return token if isinstance(token, bytes) else None

    def _account_commands(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {**super()._account_commands(), "UnlockUserAccount": self._unlock_account}

    def _unlock_account(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self._named(command).wrong_passwords = 0
        return {}


class SharedIPad(WithUsers):
    """An iPad for several people; the server tells them apart by their short names."""

    def __init__(self, **how: Any) -> None:
        super().__init__("ipad", shared_ipad=True, **how)

    @classmethod
    def _of_kind(cls, kind: str, **options: Any) -> "SharedIPad":  # noqa: ARG003 - there is one kind
        return cls(**options)

    def _account_commands(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {**super()._account_commands(), "LogOutUser": self._log_out_user}

    def _log_out_user(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        if self.session is None:
            raise CommandFailed((MDM_ERROR, 12021, "Nobody is logged in."))
        self.session.log_out()
        return {}


class User:
    """One person on a device, with a channel of their own while they are managed."""

    def __init__(
        self,
        device: WithUsers,
        short_name: str,
        long_name: str,
        *,
        password: str = "",
        network: bool = False,
        user_id: str | None = None,
    ) -> None:
        self.device = device
        self.short_name = short_name
        self.long_name = long_name
        self.password = password
        self.network = network  # known to a directory: the Mac asks the server at each login
        shared = device.kind is not Kind.MAC
        self.user_id = user_id or (SHARED_IPAD_USER if shared else device._new_uuid())
        self.uid = 501 + len(device.users)
        self.push_token = device._chance.randbytes(32)
        self.push_magic = device._new_uuid()
        self.profiles: dict[str, Profile] = {}
        self.auth_token: str | None = None
        self.managed = False
        self.logged_in = False
        self.awaiting_configuration = False  # a Shared iPad in its user's Setup Assistant
        self.in_setup_assistant = False  # a Mac before its first account
        self.keychain_locked = False
        self.unsynced = False
        self.wrong_passwords = 0
        self.unsent: dict[str, Any] | None = None

    # Logging in and out

    def log_in(self, password: str | None = None) -> bool:
        """True when the server manages this user from now on, until they log out."""
        if password is not None and self.locked_out:
            return False
        self.logged_in = True
        if USER_CHANNELS not in self.device.server_capabilities:
            return False
        self.managed = (not self.network or self.authenticate(password)) and self.token_update().ok
        if self.managed:
            self.connect(NeedSyncResponse=True)
        return self.managed

    def log_out(self) -> None:
        self.logged_in = self.managed = False

    def mistypes(self) -> None:
        """A wrong password at the login window."""
        self.wrong_passwords += 1

    @property
    def locked_out(self) -> bool:
        return self.wrong_passwords >= MOST_TRIES

    def authenticate(self, password: str | None = None) -> bool:
        """UserAuthenticate, both steps; True if the server wants to manage the user."""
        self.auth_token = None
        first = self.check_in("UserAuthenticate", AuthToken=None)
        if not first.ok:
            return False
        challenge = plistlib.loads(first.body)["DigestChallenge"]
        if not challenge:
            return True
        second = self.answer_challenge(challenge, self.password if password is None else password)
        if not second.ok:
            return False
        self.auth_token = plistlib.loads(second.body)["AuthToken"] or None
        return self.auth_token is not None

    def challenge(self) -> str:
        """The first step alone: what the server asks."""
        response = self.check_in("UserAuthenticate", AuthToken=None)
        return str(plistlib.loads(response.body)["DigestChallenge"])

    def answer_challenge(
        self, challenge: str, password: str, *, method: str = "PUT", **overrides: str
    ) -> Response:
        """The second step: RFC 2617's digest over the short name and the password."""
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm, nonce = asked["realm"], asked["nonce"]
        secret = _md5(f"{self.short_name}:{realm}:{password}")
        parts = {
            "username": self.short_name,
            "realm": realm,
            "nonce": nonce,
            "uri": "/",
            "response": _md5(f"{secret}:{nonce}:{_md5(f'{method}:/')}"),
            **overrides,
        }
        digest = "Digest " + ",".join(f'{name}="{value}"' for name, value in parts.items())
        return self.check_in("UserAuthenticate", AuthToken=None, DigestResponse=digest)

    def forget(self) -> None:
        """The device's enrollment has gone."""
        self.managed = False
        self.auth_token = self.unsent = None
        self.profiles.clear()

    def to_state(self) -> dict[str, Any]:
        """All of it as JSON. Holds a password and an AuthToken: keep it private."""
        return {
            **{key: getattr(self, key) for key in KEPT},
            "push_token": base64.b64encode(self.push_token).decode(),
            "profiles": [base64.b64encode(one.raw).decode() for one in self.profiles.values()],
        }

    def remember(self, state: Mapping[str, Any]) -> None:
        for key in KEPT:
            setattr(self, key, state[key])
        self.push_token = base64.b64decode(state["push_token"])
        for raw in state["profiles"]:
            profile = profiles.read(base64.b64decode(raw))
            self.profiles[profile.identifier] = profile

    # What this user says

    def token_update(self, **overrides: Any) -> Response:
        keys = {
            "Topic": self.device._enrollment.topic,
            "Token": self.push_token,
            "PushMagic": self.push_magic,
            "AwaitingConfiguration": self.awaiting_configuration or None,
        }
        return self.check_in("TokenUpdate", **{**keys, **overrides})

    def check_in(self, message_type: str, **keys: Any) -> Response:
        return self.device.check_in(message_type, **{**self._keys(), **keys})

    def idle(self, **overrides: Any) -> Response:
        """Ask for a command; carry nothing out."""
        return self.report({"Status": "Idle", **overrides})

    def report(self, message: Mapping[str, Any]) -> Response:
        identifier = self.device._identifier()
        whole = {**identifier, **self._keys(), **message}
        body = plistlib.dumps({key: value for key, value in whole.items() if value is not None})
        response = self.device.put(self.device._enrollment.server_url, CONNECT, body)
        if response.ok:
            self.unsent = None
        return response

    def connect(self, *, max_rounds: int = 50, **flags: Any) -> list[Done]:
        """What happens after a push or at a login: command by command, until an empty answer."""
        done: list[Done] = []
        if not (self.logged_in and self.managed and self.device.enrolled):
            return done
        if self.in_setup_assistant:
            flags["UserConfiguration"] = True
        message: dict[str, Any] = self.unsent or {"Status": "Idle"}
        while True:
            response = self.report({**message, **flags})
            if not (response.ok and response.body) or len(done) == max_rounds:
                return done
            message = self.answer(response.body)
            done.append(
                Done(
                    request_type=plistlib.loads(response.body)["Command"]["RequestType"],
                    status=message["Status"],
                    command_uuid=message["CommandUUID"],
                    result=message,
                )
            )

    def hears_push(self, magic: str) -> bool:
        return self.logged_in and self.managed and magic == self.push_magic

    def answer(self, command: bytes) -> dict[str, Any]:
        """Carry a command out on this channel; the result is not sent yet."""
        envelope = plistlib.loads(command)
        asked = envelope["Command"]
        request_type = asked["RequestType"]
        keys: dict[str, Any] = {"CommandUUID": envelope["CommandUUID"], "Status": "Acknowledged"}
        try:
            if self._not_now(request_type):
                keys["Status"] = "NotNow"
            else:
                keys |= self._carry_out(request_type, asked)
        except NotUnderstood:
            keys["Status"] = "CommandFormatError"
        except CommandFailed as failure:
            keys |= {"Status": "Error", "ErrorChain": failure.chain}
        self.unsent = keys
        return keys

    def listed(self) -> dict[str, Any]:
        """As UserList shows this user."""
        common = {
            "UserName": self.short_name,
            "FullName": self.long_name,
            "UID": self.uid,
            "IsLoggedIn": self.logged_in,
        }
        if self.device.kind is Kind.MAC:
            return {
                **common,
                "UserGUID": self.user_id,
                "MobileAccount": self.network,
                "HasSecureToken": not self.network,
            }
        return {**common, "HasDataToSync": self.unsynced, "DataQuota": 2**31, "DataUsed": 2**20}

    # Within

    def _keys(self) -> dict[str, Any]:
        return {
            "UserID": self.user_id,
            "UserShortName": self.short_name,
            "UserLongName": self.long_name,
            "AuthToken": self.auth_token,
        }

    def _not_now(self, request_type: str) -> bool:
        if self.in_setup_assistant and request_type != "DeviceConfigured":
            return True
        return self.keychain_locked and request_type in NEEDS_KEYCHAIN

    def _carry_out(self, request_type: str, command: Mapping[str, Any]) -> dict[str, Any]:
        only_there = ON_A_MAC if self.device.kind is Kind.MAC else ON_A_SHARED_IPAD
        handler = {**EVERYWHERE, **only_there}.get(request_type)
        if handler is None:
            raise CommandFailed((MDM_ERROR, 12021, "Unknown request type."))
        return handler(self, command)

    def _install(self, command: Mapping[str, Any]) -> dict[str, Any]:
        payload = command.get("Payload")
        if not isinstance(payload, bytes):
            raise NotUnderstood
        try:
            profile = profiles.read(payload)
        except ProfileRefused as reason:
            raise CommandFailed((MDM_ERROR, 4001, str(reason))) from None
        self.profiles[profile.identifier] = profile
        return {}

    def _remove(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if self.profiles.pop(str(command.get("Identifier")), None) is None:
            raise CommandFailed((MDM_ERROR, 12075, "The profile is not installed."))
        return {}

    def _profile_list(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {"ProfileList": [one.listed() for one in self.profiles.values()]}

    def _device_information(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {"QueryResponses": {"DeviceName": self.device.name}}

    def _security_info(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {"SecurityInfo": {"ManagementStatus": {"EnrolledViaDEP": False}}}

    def _restrictions(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        flags = {
            key: {"value": value}
            for one in self.profiles.values()
            for payload in one.of_type(RESTRICTIONS)
            for key, value in payload.items()
            if isinstance(value, bool)
        }
        return {"GlobalRestrictions": {"restrictedBool": flags} if flags else {}}

    def _configured(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        self.awaiting_configuration = self.in_setup_assistant = False
        return {}

    def _nothing_more(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        return {}


Handler = Callable[[User, Mapping[str, Any]], dict[str, Any]]
EVERYWHERE: dict[str, Handler] = {
    "DeclarativeManagement": User._nothing_more,
    "DeviceInformation": User._device_information,
    "InstallProfile": User._install,
    "ProfileList": User._profile_list,
    "RemoveProfile": User._remove,
    "Settings": User._nothing_more,
}
ON_A_MAC: dict[str, Handler] = {
    "DeviceConfigured": User._configured,
    "SecurityInfo": User._security_info,
}
ON_A_SHARED_IPAD: dict[str, Handler] = {
    "Restrictions": User._restrictions,
    "UserConfigured": User._configured,
}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
