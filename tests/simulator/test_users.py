"""The simulated people on a Mac and on a Shared iPad behave as Apple's do, against a server of few lines."""

import hashlib
import plistlib
from collections.abc import Mapping
from typing import Any

import pytest

from tests.simulator.samples import enrollment
from tests.simulator.users import SHARED_IPAD_USER, USER_CHANNELS, Mac, SharedIPad, User


class Server:
    """Answers from a list; remembers what was said."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.answers: list[tuple[int, bytes]] = []

    def __call__(
        self, _method: str, _url: str, _headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.said.append(plistlib.loads(body))
        status, answer = self.answers.pop(0) if self.answers else (200, b"")
        return status, {}, answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def mac(server: Server) -> Mac:
    mac = Mac(transport=server, seed=1)
    mac.install_enrollment_profile(enrollment(ServerCapabilities=[USER_CHANNELS]))
    mac.enroll()
    server.said.clear()
    return mac


def command(request_type: str, **keys: Any) -> tuple[int, bytes]:
    asked = {"CommandUUID": "C-1", "Command": {"RequestType": request_type, **keys}}
    return 200, plistlib.dumps(asked)


def test_a_local_user_tells_an_address_of_their_own(server: Server, mac: Mac) -> None:
    anna = mac.add_user("anna", "Anna Berg")

    assert anna.log_in()

    update, idle = server.said
    assert (update["MessageType"], update["UserID"]) == ("TokenUpdate", anna.user_id)
    assert (update["Token"], update["PushMagic"]) == (anna.push_token, anna.push_magic)
    assert update["Token"] != mac.push_token
    assert "UnlockToken" not in update
    assert (idle["Status"], idle["NeedSyncResponse"]) == ("Idle", True)


def test_a_server_without_user_channels_hears_of_no_user(server: Server) -> None:
    mac = Mac(transport=server, seed=1)
    mac.install_enrollment_profile(enrollment())
    mac.enroll()
    server.said.clear()

    assert not mac.add_user("anna").log_in()
    assert server.said == []


def test_a_network_user_answers_the_challenge_and_repeats_the_token(
    server: Server, mac: Mac
) -> None:
    nora = mac.add_user("nora", network=True, password="sesame")
    server.answers = [
        (200, plistlib.dumps({"DigestChallenge": 'Digest nonce="n",realm="r"'})),
        (200, plistlib.dumps({"AuthToken": "token"})),
    ]

    assert nora.log_in()

    first, second, *later = server.said
    assert "DigestResponse" not in first
    ha1 = hashlib.md5(b"nora:r:sesame", usedforsecurity=False).hexdigest()
    ha2 = hashlib.md5(b"PUT:/", usedforsecurity=False).hexdigest()
    right = hashlib.md5(f"{ha1}:n:{ha2}".encode(), usedforsecurity=False).hexdigest()
    assert f'response="{right}"' in second["DigestResponse"]
    assert "AuthToken" not in first | second
    assert {one["AuthToken"] for one in later} == {"token"}


@pytest.mark.parametrize(
    "answers",
    [
        [(410, b"")],
        [
            (200, plistlib.dumps({"DigestChallenge": 'Digest nonce="n",realm="r"'})),
            (200, plistlib.dumps({"AuthToken": ""})),
        ],
    ],
)
def test_a_declined_user_says_nothing_more(
    server: Server, mac: Mac, answers: list[tuple[int, bytes]]
) -> None:
    nora = mac.add_user("nora", network=True, password="sesame")
    server.answers = answers

    assert not nora.log_in()
    assert nora.connect() == []
    assert {one["MessageType"] for one in server.said} == {"UserAuthenticate"}


def test_a_locked_keychain_and_setup_assistant_put_commands_off(server: Server, mac: Mac) -> None:
    anna = mac.add_user("anna")
    anna.log_in()
    anna.keychain_locked = True
    server.answers = [command("RemoveProfile", Identifier="x")]
    assert [one.status for one in anna.connect()] == ["NotNow"]

    anna.in_setup_assistant = True
    server.answers = [command("SecurityInfo"), command("DeviceConfigured")]
    assert [one.status for one in anna.connect()] == ["NotNow", "Acknowledged"]
    assert not anna.in_setup_assistant


def test_a_user_channel_knows_no_command_of_the_device(server: Server, mac: Mac) -> None:
    anna = mac.add_user("anna")
    anna.log_in()
    server.answers = [command("DeviceLock", PIN="123456")]

    assert anna.connect()[0].error_codes == [12021]


def test_a_shared_ipads_users_have_one_id_and_two_names(server: Server) -> None:
    ipad = SharedIPad(transport=server, seed=2)
    ipad.install_enrollment_profile(enrollment(ServerCapabilities=[USER_CHANNELS]))
    ipad.enroll()
    users: list[User] = [ipad.add_user("anna@example.com"), ipad.add_user("bo@example.com")]
    assert {one.user_id for one in users} == {SHARED_IPAD_USER}
    users[0].log_in()
    server.answers = [command("LogOutUser"), (200, b"")]

    ipad.connect()

    assert ipad.session is None


def test_a_mac_asks_for_its_bootstrap_token(server: Server, mac: Mac) -> None:
    mac.escrow_bootstrap_token()
    assert server.said[-1]["BootstrapToken"] == mac.bootstrap_token
    mac.delete_bootstrap_token()
    assert "BootstrapToken" not in server.said[-1]
    server.answers = [(200, plistlib.dumps({"BootstrapToken": b"b"})), (200, b"")]

    assert (mac.fetch_bootstrap_token(), mac.fetch_bootstrap_token()) == (b"b", None)
