"""A fleet over real HTTP against the smallest server, woken over real HTTP/2."""

import contextlib
import json
import os
import plistlib
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.diary import Diary
from tests.simulator.fleet import MOODS, Fleet, Mood, read_links
from tests.simulator.fleet_page import FleetPage
from tests.simulator.push_client import Client
from tests.simulator.push_service import PushService
from tests.simulator.samples import enrollment, policy
from tests.simulator.transport import HttpTransport, Response

HOUR = 6.0
REPOSITORY = Path(__file__).parents[2]


class Door:
    """The smallest MDM server: enrolls whoever comes, and pushes what it has to say."""

    def __init__(self, push: PushService) -> None:
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(*door.link(self.path))

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Mdm-Signature"]
                self._answer(200, door.take(plistlib.loads(body)))

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._push = push
        self._used: set[str] = set()
        self._lock = threading.Lock()
        self.devices: dict[str, dict[str, Any]] = {}
        self.commands: dict[str, list[bytes]] = {}
        self.messages: list[dict[str, Any]] = []
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def link(self, path: str) -> tuple[int, bytes]:
        with self._lock:
            if path in self._used:
                return 410, b"This link has been used."
            self._used.add(path)
        return 200, enrollment(
            Topic=self._push.topic, ServerURL=f"{self.url}/connect", CheckInURL=""
        )

    def take(self, message: dict[str, Any]) -> bytes:
        with self._lock:
            self.messages.append(message)
            if message.get("MessageType") == "TokenUpdate":
                self.devices[message["UDID"]] = message
            if "MessageType" in message or message["Status"] == "NotNow":
                return b""
            queue = self.commands.setdefault(message["UDID"], [])
            if message["Status"] != "Idle":
                queue.pop(0)
            return queue[0] if queue else b""

    def say(self, udid: str, request_type: str, **keys: Any) -> None:
        command = {"RequestType": request_type, **keys}
        body = plistlib.dumps({"CommandUUID": str(uuid.uuid4()), "Command": command})
        with self._lock:
            self.commands.setdefault(udid, []).append(body)

    def push(self, udid: str) -> int | str:
        update = self.devices[udid]
        body = json.dumps({"mdm": update["PushMagic"]}).encode()
        with contextlib.closing(Client(self._push)) as client:
            return client.send(update["Token"].hex(), body).status

    def heard(self, udid: str, **keys: Any) -> list[dict[str, Any]]:
        with self._lock:
            return [
                one for one in self.messages if one["UDID"] == udid and keys.items() <= one.items()
            ]


@pytest.fixture(scope="module")
def push(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with PushService(state=tmp_path_factory.mktemp("push")) as push:
        yield push


@pytest.fixture
def door(push: PushService) -> Iterator[Door]:
    door = Door(push)
    yield door
    door.close()


@contextlib.contextmanager
def running(door: Door, push: PushService, state: Path, devices: int) -> Iterator[Fleet]:
    place = ("127.0.0.1", push.listen_port)
    fleet = Fleet(state=state, push=place, hour=HOUR, door=door.url)
    kinds = ("ios", "ios", "ipados", "ios", "macos")
    fleet.populate(devices, [(kinds[one % 5], f"/enroll/{one}") for one in range(devices)])
    fleet.start()
    try:
        yield fleet
    finally:
        fleet.stop()


def until(true: Callable[[], object], seconds: float = 45) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It did not come to pass."
        time.sleep(0.02)


def test_a_fleet_enrolls_hears_pushes_and_its_users_comply(
    door: Door, push: PushService, tmp_path: Path
) -> None:
    with running(door, push, tmp_path, 5) as fleet:
        assert set(door.devices) == {one.phone.udid for one in fleet.members}
        assert [one.mood for one in fleet.members] == list(MOODS[:5])
        assert [one.phone.kind.value for one in fleet.members] == [
            *("iphone", "iphone", "ipad", "iphone", "mac")
        ]
        phone = fleet.members[0].phone
        phone.passcode = "1234"
        door.say(phone.udid, "InstallProfile", Payload=policy(minLength=7))
        assert door.push(phone.udid) == 200
        until(lambda: phone.installed)
        assert "change the passcode within" in fleet.seen()[0]["screen"]
        until(lambda: phone.compliant)
        assert phone.passcode is not None
        assert len(phone.passcode) >= 7


def test_a_second_start_knows_its_devices_and_uses_no_new_link(
    door: Door, push: PushService, tmp_path: Path
) -> None:
    with running(door, push, tmp_path, 3) as fleet:
        before = [one.phone.to_state() for one in fleet.members]
    with running(door, push, tmp_path, 4) as fleet:
        assert [one.phone.to_state()["udid"] for one in fleet.members[:3]] == [
            one["udid"] for one in before
        ]
        assert fleet.members[1].phone.to_state() == before[1]
        phone = fleet.members[0].phone
        door.say(phone.udid, "ProfileList")
        door.push(phone.udid)
        until(lambda: door.heard(phone.udid, Status="Acknowledged"))
    assert len(door.devices) == 4
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "phones").iterdir()} == {0o600}


def test_a_used_link_is_said_and_the_others_go_on(
    door: Door, push: PushService, tmp_path: Path
) -> None:
    door.link("/enroll/0")
    with running(door, push, tmp_path, 2) as fleet:
        assert [one.phone.enrolled for one in fleet.members] == [False, True]
        assert fleet.members[0].note == "The link answers 410."


def test_moods_show(door: Door, push: PushService, tmp_path: Path) -> None:
    with running(door, push, tmp_path, len(MOODS)) as fleet:
        by_mood = {mood: fleet.members[MOODS.index(mood)] for mood in Mood}
        for member in fleet.members:
            door.say(member.phone.udid, "SecurityInfo")
            door.say(member.phone.udid, "InstallProfile", Payload=policy(minLength=7))
            door.push(member.phone.udid)

        not_now = by_mood[Mood.NOT_NOW].phone
        until(lambda: door.heard(not_now.udid, Status="NotNow"))
        until(lambda: not_now.installed)  # it came back without another push

        restarted = by_mood[Mood.RESTARTED].phone
        until(lambda: restarted.restarted_and_locked)
        until(lambda: not restarted.restarted_and_locked)
        until(lambda: restarted.installed)

        gone = by_mood[Mood.TOKEN_GONE]
        until(lambda: gone.token_gone)
        until(lambda: door.push(gone.phone.udid) == 410)
        fleet.act(gone.number, "new-token")
        assert door.push(gone.phone.udid) == 200

        never = by_mood[Mood.NEVER].phone
        until(lambda: never.blocked)
        assert not never.compliant

        forgetful = by_mood[Mood.FORGETFUL].phone
        until(lambda: forgetful.installed and forgetful.compliant)

        removes = by_mood[Mood.REMOVES].phone
        until(lambda: door.heard(removes.udid, MessageType="CheckOut"))
        until(lambda: not removes.enrolled)  # it forgets us once the door has heard it


def test_the_page_shows_screens_and_plays_the_user(
    door: Door, push: PushService, tmp_path: Path
) -> None:
    with running(door, push, tmp_path, 2) as fleet:
        page = FleetPage(fleet, 0)
        page.start()
        place = f"http://127.0.0.1:{page.port}"

        transport = HttpTransport()

        def get(path: str) -> str:
            return transport.send("GET", place + path, {}, b"").body.decode()

        def post(path: str, headers: dict[str, str] | None = None, **fields: str) -> Response:
            body = urllib.parse.urlencode(fields).encode()
            return transport.send("POST", place + path, headers or {}, body)

        try:
            phone = fleet.members[0].phone
            sent = post("/phones/1", action="set-passcode", value="<8274>")
            assert (sent.status, sent.headers["location"]) == (303, "/#phone-1")
            assert phone.passcode == "<8274>"
            shown = get("/")
            assert "&lt;8274&gt;" in shown
            assert "<8274>" not in shown
            post("/phones/1", action="restart")
            assert json.loads(get("/phones.json"))[0]["screen"].startswith(
                "Locked after a restart"
            )
            said = post("/phones/1", {"Accept": "application/json"}, action="set-passcode")
            assert json.loads(said.body) == {"said": "The device is locked."}
            post("/phones/1", action="unlock")
            post("/phones/1", action="lose-network")
            assert not phone.reachable
            post("/phones/1", action="regain-network")
            post("/phones/1", action="forget")
            assert "forgotten" in phone.screen()
            post("/phones/1", action="remove-profile")
            assert door.heard(phone.udid, MessageType="CheckOut")
            assert "--ground" in get("/fleet.css")
            assert "setInterval" in get("/fleet.js")
            elsewhere = {"Origin": "https://elsewhere.example"}
            assert post("/phones/1", elsewhere, action="restart").status == 403
            assert post("/phones/9", action="restart").status == 404
            assert post("/phones/1", action="explode").status == 404
        finally:
            transport.close()
            page.stop()


def test_lost_and_found_network_brings_the_push_that_waited(
    door: Door, push: PushService, tmp_path: Path
) -> None:
    with running(door, push, tmp_path, 1) as fleet:
        phone = fleet.members[0].phone
        fleet.act(1, "lose-network")
        door.say(phone.udid, "ProfileList")
        assert door.push(phone.udid) == 200
        until(lambda: fleet.members[0].push_waits)
        assert not door.heard(phone.udid, Status="Idle")
        fleet.act(1, "regain-network")
        until(lambda: door.heard(phone.udid, Status="Acknowledged"))


def test_links_are_lines_of_platform_and_url(tmp_path: Path) -> None:
    path = tmp_path / "links"
    path.write_text("# a remark\nios https://one\n\nmacOS https://two\n")
    assert read_links(path) == [("ios", "https://one"), ("macOS", "https://two")]
    path.write_text("windows https://three\n")
    with pytest.raises(ValueError, match="line 1"):
        read_links(path)


def test_a_diary_keeps_the_order_of_its_times_and_survives_trouble(
    capsys: pytest.CaptureFixture[str],
) -> None:
    diary = Diary(hands=1)
    diary.start()
    done: list[int] = []
    diary.later(0.2, lambda: done.append(2))
    diary.later(0.1, lambda: done.append(1))
    diary.later(0.0, lambda: 1 // 0)
    diary.later(60, lambda: done.append(3))
    until(lambda: len(done) == 2)
    diary.close()
    assert done == [1, 2]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_command_line_runs_both_until_it_is_told_to_end(tmp_path: Path) -> None:
    def started(*words: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulator", *words],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        return process, process.stdout.readline()

    push, said = started("push", "--port", "0", "--state", str(tmp_path / "push"))
    assert said.startswith("push service ready: https://localhost:")
    place = said.partition("listen on ")[2].partition(",")[0]
    (tmp_path / "links").write_text("ios http://127.0.0.1:9/enroll\n")
    fleet, heard = started(
        *("fleet", "--push", place, "--devices", "1", "--links", str(tmp_path / "links")),
        *("--state", str(tmp_path / "fleet")),
    )
    assert heard.startswith("fleet ready: 0 of 1 devices enrolled, page http://localhost:")
    for process, number in ((fleet, signal.SIGTERM), (push, signal.SIGINT)):
        os.kill(process.pid, number)
        assert process.wait(timeout=10) == 0
        assert process.stdout
        assert process.stdout.read() == ""
        process.stdout.close()
