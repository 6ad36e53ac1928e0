"""The simulated device's declarative management, against the smallest server that speaks it."""

import json
import plistlib
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from tests.simulator.declarative import Declarations, Nonsense
from tests.simulator.phone import Phone
from tests.simulator.samples import CONNECT, enrollment

POLICY = "org.example.policy"
JSON = {"Content-Type": "application/json"}


class Server:
    """Has a set, and remembers what it was told."""

    def __init__(self) -> None:
        self.token = "one"
        self.set: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.commands: list[bytes] = []
        self.is_down = False

    def declare(self, token: str, **payload: Any) -> None:
        """One policy, its activation, and the subscription."""
        self.token = token
        self.set = {}
        self._add("configuration", POLICY, "com.apple.configuration.passcode.settings", payload)
        names = [{"Name": name} for name in ("passcode.is-present", "passcode.is-compliant")]
        subscription = "com.apple.configuration.management.status-subscriptions"
        self._add("configuration", "status", subscription, {"StatusItems": names})
        for name in (POLICY, "status"):
            chosen = {"StandardConfigurations": [name]}
            self._add("activation", f"act.{name}", "com.apple.activation.simple", chosen)

    def _add(self, kind: str, name: str, type_: str, payload: dict[str, Any]) -> None:
        self.set[f"{kind}/{name}"] = {
            "Type": type_,
            "Identifier": name,
            "ServerToken": f"{self.token}-{name}",
            "Payload": payload,
        }

    def nudge(self, **keys: Any) -> None:
        command = {"RequestType": "DeclarativeManagement", **keys}
        self.commands.append(
            plistlib.dumps({"CommandUUID": str(uuid.uuid4()), "Command": command})
        )

    def tokens(self) -> bytes:
        return json.dumps({"SyncTokens": {"DeclarationsToken": self.token}}).encode()

    def __call__(
        self, _method: str, url: str, _headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        message = plistlib.loads(body)
        if url == CONNECT:
            return 200, {}, self.commands.pop(0) if self.commands else b""
        if message["MessageType"] != "DeclarativeManagement":
            return 200, {}, b""
        if self.is_down:
            raise ConnectionError
        return self._declarative(message["Endpoint"], message.get("Data"))

    def _declarative(
        self, endpoint: str, data: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.asked.append(endpoint)
        if endpoint == "status":
            assert data is not None
            self.reports.append(json.loads(data))
            return 200, {}, b""
        if endpoint == "tokens":
            return 200, JSON, self.tokens()
        if endpoint == "declaration-items":
            lists: dict[str, list[dict[str, str]]] = {
                name: [] for name in ("Activations", "Configurations", "Assets", "Management")
            }
            for key, one in self.set.items():
                item = {name: one[name] for name in ("Identifier", "ServerToken")}
                lists[f"{key.split('/')[0].capitalize()}s"].append(item)
            return (
                200,
                JSON,
                json.dumps({"Declarations": lists, "DeclarationsToken": self.token}).encode(),
            )
        found = self.set.get(endpoint.removeprefix("declaration/"))
        return (200, JSON, json.dumps(found).encode()) if found else (404, {}, b"")


@pytest.fixture
def server() -> Server:
    return Server()


def enrolled(server: Server, **how: Any) -> Phone:
    how.setdefault("declarative", True)
    phone = Phone("iphone", transport=server, seed=1, **how)
    phone.install_enrollment_profile(enrollment())
    phone.enroll()
    return phone


def told(server: Server, phone: Phone) -> list[str]:
    """It hears of its set; what it asked for then."""
    before = len(server.asked)
    server.nudge(Data=server.tokens())
    phone.connect()
    return server.asked[before:]


def test_it_fetches_its_set_and_reports_all_of_it(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=8)
    assert told(server, phone) == [
        "declaration-items",
        "declaration/activation/act.org.example.policy",
        "declaration/activation/act.status",
        "declaration/configuration/org.example.policy",
        "declaration/configuration/status",
        "status",
    ]
    assert phone.declarations.policies == [POLICY]
    assert not phone.compliant
    assert "Prompt: change the passcode" in phone.screen()
    [report] = server.reports
    assert report["StatusItems"]["passcode"] == {"is-present": True, "is-compliant": False}
    [first, _] = report["StatusItems"]["management"]["declarations"]["configurations"]
    assert first == {
        "identifier": POLICY,
        "server-token": f"one-{POLICY}",
        "active": True,
        "valid": "valid",
        "reasons": [],
    }


def test_it_leaves_a_set_alone_that_it_has(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=4)
    told(server, phone)
    assert told(server, phone) == []
    server.nudge()  # without the tokens it asks for them
    phone.connect()
    assert server.asked[-1] == "tokens"


def test_it_says_by_itself_what_has_changed_and_nothing_else(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=6)
    told(server, phone)
    phone.user_sets_passcode("904713")
    assert server.reports[-1]["StatusItems"] == {"passcode": {"is-compliant": True}}
    assert not phone.report_status()
    assert phone.report_status(full=True)
    assert server.reports[-1]["FullReport"] is True
    assert set(server.reports[-1]["StatusItems"]) == {"passcode", "management"}


def test_what_nobody_took_is_said_at_the_next_connection(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=6)
    told(server, phone)
    server.is_down = True
    phone.user_sets_passcode("904713")
    server.is_down = False
    phone.connect()
    assert server.reports[-1]["StatusItems"] == {"passcode": {"is-compliant": True}}


def test_a_sync_that_broke_off_is_done_at_the_next_connection(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=6)
    server.is_down = True
    told(server, phone)
    assert phone.declarations.held == {}
    server.is_down = False
    phone.connect()
    assert phone.declarations.policies == [POLICY]


def test_a_configuration_without_an_activation_is_inert(server: Server) -> None:
    phone = enrolled(server, passcode=None)
    server.declare("one", RequirePasscode=True)
    del server.set[f"activation/act.{POLICY}"]
    told(server, phone)
    assert phone.compliant
    [first, _] = server.reports[-1]["StatusItems"]["management"]["declarations"]["configurations"]
    assert (first["active"], first["valid"]) == (False, "valid")


@pytest.mark.parametrize(
    "payload", [{"MinimumLength": 99}, {"RequirePasscode": 1}, {"Unheard": True}]
)
def test_what_it_does_not_understand_is_invalid(server: Server, payload: dict[str, Any]) -> None:
    phone = enrolled(server, passcode=None)
    server.declare("one", **payload)
    told(server, phone)
    [first, _] = server.reports[-1]["StatusItems"]["management"]["declarations"]["configurations"]
    assert (first["active"], first["valid"]) == (False, "invalid")


def test_an_empty_set_takes_everything_away(server: Server) -> None:
    phone = enrolled(server, passcode=None)
    server.declare("one", RequirePasscode=True)
    told(server, phone)
    assert phone.seconds_left is not None
    server.token, server.set = "none", {}
    told(server, phone)
    assert phone.declarations.held == {}
    assert phone.seconds_left is None


def test_an_old_one_does_not_know_the_command(server: Server) -> None:
    phone = enrolled(server, declarative=False)
    server.nudge(Data=server.tokens())
    [done] = phone.connect()
    assert (done.status, done.error_codes) == ("Error", [12021])


def test_the_enrollment_takes_the_declarations_with_it(server: Server) -> None:
    phone = enrolled(server, passcode=None)
    server.declare("one", RequirePasscode=True)
    told(server, phone)
    phone.user_removes_profile()
    assert phone.declarations.held == {}
    assert phone.compliant


def test_it_remembers_its_declarations(server: Server) -> None:
    phone = enrolled(server, passcode="1234")
    server.declare("one", MinimumLength=6)
    told(server, phone)
    again = Phone.from_state(json.loads(json.dumps(phone.to_state())), transport=server)
    assert again.declarations == phone.declarations
    assert again.declarative
    assert told(server, again) == []


def test_an_answer_that_is_no_json_is_nonsense(server: Server) -> None:
    phone = enrolled(server)
    phone.transport = lambda *_: (200, {"Content-Type": "text/html"}, b"{}")
    with pytest.raises(Nonsense):
        Declarations().sync(phone._declarative)
