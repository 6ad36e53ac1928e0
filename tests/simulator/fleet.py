"""Many simulated devices over real HTTP, each with a mood, woken by the simulated push service.

All that happens by chance is drawn from the seed and the device's number, so that the same fleet
behaves in the same way each time. What a device is (keys, passcode, profiles) is kept in a folder.
"""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tests.simulator import fleet_people
from tests.simulator.diary import Diary
from tests.simulator.phone import EnrollmentFailed, Kind, NotAccepted, Phone
from tests.simulator.profile import ProfileRefused
from tests.simulator.push_certificates import write_privately
from tests.simulator.transport import HttpTransport, Response
from tests.simulator.users import User

DECLARATIVE = 3  # each third device knows no declarations
HANDS = 8  # requests under way at once
SOON = (0.2, 1.5)  # seconds until a prompt device comes after a push
RETRY, LONGEST_RETRY = 2.0, 60.0
SERVER_TROUBLE = 500


class Mood(StrEnum):
    PROMPT = "prompt"
    SLOW = "slow"
    NOT_NOW = "not now"
    FORGETFUL = "forgetful"
    RESTARTED = "restarted"
    TOKEN_GONE = "token gone"
    NEVER = "never complies"
    REMOVES = "removes the profile"


MOODS = (  # dealt out in this order, again and again
    *(Mood.PROMPT, Mood.FORGETFUL, Mood.SLOW, Mood.PROMPT, Mood.NOT_NOW),
    *(Mood.NEVER, Mood.PROMPT, Mood.RESTARTED, Mood.PROMPT, Mood.FORGETFUL),
    *(Mood.TOKEN_GONE, Mood.PROMPT, Mood.REMOVES, Mood.PROMPT, Mood.SLOW),
)
COMES_AFTER = {Mood.SLOW: (0.05, 0.2)}  # in hours; all others come soon
USER_ACTS_AFTER = {  # in hours, from the first prompt
    Mood.PROMPT: (0.05, 0.35),
    Mood.SLOW: (0.3, 0.8),
    Mood.NOT_NOW: (0.1, 0.5),
    Mood.FORGETFUL: (0.85, 1.35),
    Mood.RESTARTED: (0.2, 0.6),
    Mood.TOKEN_GONE: (0.1, 0.5),
    Mood.REMOVES: (0.1, 0.4),
}
BUSY_FOR, BUSY_AGAIN = 0.12, 0.5
RESTARTS_AFTER, LOCKED_FOR = (0.1, 0.2), (0.3, 0.5)
UNLOCKS_AFTER = (0.05, 0.1)
TOKEN_GOES_AFTER = (0.1, 0.3)
REMOVES_AFTER = (1.2, 1.8)

KINDS = {
    "ios": Kind.IPHONE,
    "iphone": Kind.IPHONE,
    "ipados": Kind.IPAD,
    "ipad": Kind.IPAD,
    "macos": Kind.MAC,
    "mac": Kind.MAC,
}
NAMES = {Kind.IPHONE: "iPhone", Kind.IPAD: "iPad", Kind.MAC: "Mac"}
FIRST_PASSCODES = ("1234", None, "2580", "147258", "0000", "tulip-4471")


@dataclass(slots=True)
class Member:
    """One device of the fleet, and its user."""

    number: int
    mood: Mood
    phone: Phone
    chance: random.Random
    link: str | None = None
    token_gone: bool = False
    was_enrolled: bool = False
    note: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    profile_to_install: bytes | None = None
    comes: bool = False  # a connection is planned
    user_will_act: bool = False
    user_will_unlock: bool = False
    push_waits: bool = False
    busy_again_at: float = 0
    attempts: int = 0
    seen: dict[str, Any] = field(default_factory=dict)


class Fleet:
    def __init__(
        self,
        *,
        state: Path,
        push: tuple[str, int] | None,
        hour: float,
        door: str | None = None,
        seed: int = 1,
        ca_file: str | None = None,
        hands: int = HANDS,
    ) -> None:
        self._folder = state / "phones"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._push = push
        self._hour = hour
        self._door = door
        self._seed = seed
        self._ca_file = ca_file
        self._diary = Diary(hands=hands)
        self._transports: list[HttpTransport] = []
        self._of_this_thread = threading.local()
        self._by_token: dict[str, tuple[Member, User | None]] = {}  # None: the device itself
        self._listener: socket.socket | None = None
        self._closed = threading.Event()
        self._listening = threading.Thread(target=self._listen, name="push listener", daemon=True)
        self._tried = threading.Semaphore(0)
        self.members: list[Member] = []
        self._load()

    def populate(self, devices: int, links: Sequence[tuple[str, str]]) -> None:
        """Fill up to `devices` from the links that nobody has used yet."""
        used = {member.link for member in self.members}
        fresh = iter([(kind, link) for kind, link in links if link not in used])
        while len(self.members) < devices and (found := next(fresh, None)):
            kind, link = found
            self._add(KINDS[kind.lower()], link)

    def start(self) -> None:
        """Enroll who is not yet; returns when each has tried once."""
        self._diary.start()
        if self._push:
            self._listening.start()
        waiting = [one for one in self.members if not one.was_enrolled]
        for member in self.members:
            if member.phone.enrolled:
                self._later(member, 0, self._settle_in)
        for member in waiting:
            self._later(member, 0, self._enroll)
        for _ in waiting:
            self._tried.acquire(timeout=60)

    def stop(self) -> None:
        self._closed.set()
        if listener := self._listener:
            _hang_up(listener)
        self._diary.close()
        if self._listening.is_alive():
            self._listening.join(timeout=3)
        for transport in self._transports:
            transport.close()
        for member in self.members:
            if member.lock.acquire(timeout=1):
                self._save(member)
                member.lock.release()

    # What people do on the page

    def act(self, number: int, action: str, value: str = "") -> str:
        """One of ACTIONS; what happened, or why not, in words."""
        member = self.members[number - 1]
        with member.lock:
            try:
                member.note = ACTIONS[action](self, member, value)
            except (NotAccepted, EnrollmentFailed) as reason:
                member.note = str(reason)
            except OSError:
                member.note = "Nobody answered."
            self._afterwards(member)
            self._save(member)
            return member.note

    def _user_sets(self, member: Member, value: str) -> str:
        phone = member.phone
        phone.user_sets_passcode(value or phone.demands.good_one(member.chance))
        return "The user has set a passcode."

    def _restarts(self, member: Member, _value: str) -> str:
        member.phone.restart()
        return "Restarted."

    def _unlocks(self, member: Member, value: str) -> str:
        member.phone.unlock(value or member.phone.passcode)
        return "Unlocked."

    def _loses_network(self, member: Member, _value: str) -> str:
        member.phone.lose_network()
        return "Out of reach."

    def _regains_network(self, member: Member, _value: str) -> str:
        member.phone.regain_network()
        return "Back in reach."

    def _removes(self, member: Member, _value: str) -> str:
        member.phone.user_removes_profile()
        return "The user has removed the profile."

    def _forgets(self, member: Member, _value: str) -> str:
        member.phone.user_forgets_passcode()
        return "The user has forgotten the passcode."

    def _new_token(self, member: Member, _value: str) -> str:
        phone = member.phone
        if not phone.enrolled:
            raise NotAccepted("Not enrolled.")
        self._by_token.pop(phone.push_token.hex(), None)
        phone.new_push_token()
        member.token_gone = False
        self._by_token[phone.push_token.hex()] = member, None
        phone.token_update()
        return "A new push token."

    def _logs_in(self, member: Member, value: str) -> str:
        if not member.phone.enrolled:
            raise NotAccepted("Not enrolled.")
        return fleet_people.log_in(fleet_people.named(member.phone, value))

    def _logs_out(self, member: Member, value: str) -> str:
        user = fleet_people.named(member.phone, value)
        user.log_out()
        return f"{user.long_name} has logged out."

    # What can be seen

    def seen(self) -> list[dict[str, Any]]:
        return [self._seen(member) for member in self.members]

    def _seen(self, member: Member) -> dict[str, Any]:
        """As it is now; as it was, while a request of it is under way."""
        if not member.lock.acquire(timeout=0.05):
            if member.seen:
                return member.seen
            member.lock.acquire()  # never seen yet: wait for the first time
        try:
            phone = member.phone
            contact = phone.last_contact_at
            left = phone.seconds_left
            member.seen = {
                "number": member.number,
                "name": phone.name,
                "kind": phone.kind.value,
                "serial": phone.serial,
                "udid": phone.udid,
                "supervised": phone.supervised,
                "mood": member.mood.value,
                "screen": phone.screen(),
                "enrolled": phone.enrolled,
                "passcode": phone.passcode,
                "complies": phone.compliant,
                "has_policy": phone.demands.required,
                "seconds_left": None if left is None else round(left),
                "blocked": phone.blocked,
                "locked": phone.locked or phone.restarted_and_locked,
                "restarted_and_locked": phone.restarted_and_locked,
                "forgotten": phone.forgotten,
                "lost": phone.lost_mode is not None,
                "busy": phone.busy,
                "online": phone.online,
                "reachable": phone.reachable,
                "token_gone": member.token_gone,
                "profiles": [
                    {"identifier": one, "name": phone.profiles[one].name}
                    for one in phone.installed
                ],
                "people": [fleet_people.seen(user) for user in fleet_people.people(phone)],
                "last_contact": None if contact is None else round(time.time() - contact),
                "note": member.note,
            }
        finally:
            member.lock.release()
        return member.seen

    # Devices and moods

    def _add(self, kind: Kind, link: str) -> None:
        number = len(self.members) + 1
        mood = MOODS[(number - 1) % len(MOODS)]
        chance = random.Random(f"{self._seed} {number}")
        passcode = chance.choice(FIRST_PASSCODES)
        if mood in {Mood.NEVER, Mood.RESTARTED} or kind is Kind.MAC:
            passcode = passcode or "1234"
        phone = fleet_people.device(
            kind,
            sum(one.phone.kind is kind for one in self.members),
            transport=self._send,
            passcode=passcode,
            seed=f"{self._seed} {number} {link}",
            name=f"{NAMES[kind]} {number:02}",
            supervised=chance.random() < 0.7,
            declarative=number % DECLARATIVE != 0,
            hour=self._hour,
        )
        self._join(Member(number, mood, phone, chance, link))

    def _join(self, member: Member) -> None:
        self.members.append(member)
        self._by_token[member.phone.push_token.hex()] = member, None
        for user in fleet_people.people(member.phone):
            self._by_token[user.push_token.hex()] = member, user

    def _enroll(self, member: Member) -> None:
        phone = member.phone
        try:
            if not phone.enrollment:
                member.profile_to_install = member.profile_to_install or self._fetch(member)
                if not member.profile_to_install:
                    return
                phone.install_enrollment_profile(member.profile_to_install)
            phone.enroll()
        except ProfileRefused as reason:
            member.note, member.profile_to_install = f"The profile was refused: {reason}", None
        except EnrollmentFailed as failure:
            member.note = str(failure)
            if failure.status >= SERVER_TROUBLE:
                self._again(member, self._enroll)
        except OSError:
            member.note = "The server does not answer."
            self._again(member, self._enroll)
        else:
            member.note, member.attempts, member.profile_to_install = "Enrolled.", 0, None
            self._settle_in(member)
        finally:
            self._save(member)
            self._tried.release()

    def _fetch(self, member: Member) -> bytes | None:
        """The profile behind its link, or None and a note."""
        if not member.link:
            return None
        link = urljoin(self._door, member.link) if self._door else member.link
        response = self._send("GET", link, {}, b"")
        if response.ok:
            return response.body
        member.note = f"The link answers {response.status}."
        if response.status >= SERVER_TROUBLE:
            self._again(member, self._enroll)
        return None

    def _settle_in(self, member: Member) -> None:
        """What its mood has in store, from now on; and its people come."""
        self._later(member, 0, self._people_arrive)
        match member.mood:
            case Mood.RESTARTED:
                self._in_hours(member, RESTARTS_AFTER, self._mood_restarts)
            case Mood.TOKEN_GONE:
                self._in_hours(member, TOKEN_GOES_AFTER, self._mood_token_goes)
            case Mood.REMOVES:
                self._in_hours(member, REMOVES_AFTER, self._mood_removes)
            case _:
                pass
        self._afterwards(member)

    def _people_arrive(self, member: Member) -> None:
        try:
            fleet_people.arrive(member.phone)
            for user in fleet_people.people(member.phone):
                user.connect()
        except OSError:
            self._again(member, self._people_arrive)
        self._save(member)

    def _mood_restarts(self, member: Member) -> None:
        member.phone.restart()
        member.note = "Restarted, and its user has not unlocked it yet."
        self._afterwards(member)

    def _mood_token_goes(self, member: Member) -> None:
        member.token_gone = True
        member.note = "Its push token is gone."
        self._say({"answer": member.phone.push_token.hex(), "status": 410})
        self._save(member)

    def _mood_removes(self, member: Member) -> None:
        if member.phone.enrollment:
            member.phone.user_removes_profile()
            member.note = "The user has removed the profile."
            self._save(member)

    def _hears(self, token: str, magic: str) -> None:
        member, user = self._by_token.get(token, (None, None))
        if member and user:
            self._later(
                member,
                member.chance.uniform(*SOON),
                lambda _: self._user_comes(member, user, magic),
            )
            return
        if member is None or magic != member.phone.push_magic or member.token_gone:
            return
        if member.phone.reachable:
            self._comes(member)
        else:
            member.push_waits = True

    def _user_comes(self, member: Member, user: User, magic: str) -> None:
        """Pushed on their own channel; one who is logged out hears nothing."""
        if not (user.hears_push(magic) and member.phone.reachable):
            return
        with contextlib.suppress(OSError):  # it is pushed again
            if done := user.connect():
                words = ", ".join(f"{one.request_type}: {one.status}" for one in done)
                member.note = f"{user.short_name}: {words}"
                self._save(member)

    def _comes(self, member: Member) -> None:
        """Plan a connection, unless one is planned."""
        if member.comes:
            return
        member.comes = True
        if hours := COMES_AFTER.get(member.mood):
            self._in_hours(member, hours, self._connect)
        else:
            soon = member.chance.uniform(*SOON)
            self._later(member, min(soon, self._hour * 0.02), self._connect)

    def _connect(self, member: Member) -> None:
        member.comes = member.push_waits = False
        phone = member.phone
        now = time.monotonic()
        if member.mood is Mood.NOT_NOW and now >= member.busy_again_at:
            phone.become_busy()
            member.busy_again_at = now + BUSY_AGAIN * self._hour
            self._later(member, BUSY_FOR * self._hour, self._becomes_free)
        done = phone.connect()
        if done:
            member.note = ", ".join(f"{one.request_type}: {one.status}" for one in done)
        if phone.unsent and not phone.refuses_now("SecurityInfo"):
            member.comes = True
            self._again(member, self._connect)
        else:
            member.attempts = 0
        self._afterwards(member)
        if done:
            self._save(member)

    def _becomes_free(self, member: Member) -> None:
        member.phone.become_free()
        self._afterwards(member)

    def _afterwards(self, member: Member) -> None:
        """What follows by itself from how things stand now."""
        phone = member.phone
        member.was_enrolled = member.was_enrolled or phone.enrolled
        acts_after = USER_ACTS_AFTER.get(member.mood)
        if acts_after and phone.seconds_left is not None and not member.user_will_act:
            member.user_will_act = True
            self._in_hours(member, acts_after, self._user_acts)
        if self._user_can_unlock(phone) and not member.user_will_unlock:
            member.user_will_unlock = True
            after = LOCKED_FOR if member.mood is Mood.RESTARTED else UNLOCKS_AFTER
            self._in_hours(member, after, self._user_unlocks)
        if phone.reachable and phone.enrolled and (member.push_waits or phone.wants_to_connect):
            self._comes(member)

    @staticmethod
    def _user_can_unlock(phone: Phone) -> bool:
        """Locked, and neither forgotten, lost, nor held up to somebody who reads its message."""
        locked = phone.restarted_and_locked or (phone.locked and not phone.lock_message)
        return locked and not phone.forgotten and phone.lost_mode is None

    def _user_acts(self, member: Member) -> None:
        """The user gives in to the prompt, if it is still there and the device is in use."""
        member.user_will_act = False
        phone = member.phone
        if phone.seconds_left is not None:
            try:
                phone.user_sets_passcode(phone.demands.good_one(member.chance))
                member.note = "The user has set a passcode."
            except NotAccepted as reason:
                member.note = str(reason)
        self._afterwards(member)
        self._save(member)

    def _user_unlocks(self, member: Member) -> None:
        member.user_will_unlock = False
        phone = member.phone
        if not self._user_can_unlock(phone):
            return
        phone.unlock(phone.passcode)
        self._afterwards(member)
        self._save(member)

    # Time, memory, network

    def _later(self, member: Member, seconds: float, do: Callable[[Member], None]) -> None:
        def under_lock() -> None:
            with member.lock:
                do(member)

        self._diary.later(seconds, under_lock)

    def _in_hours(
        self, member: Member, hours: tuple[float, float], do: Callable[[Member], None]
    ) -> None:
        self._later(member, member.chance.uniform(*hours) * self._hour, do)

    def _again(self, member: Member, do: Callable[[Member], None]) -> None:
        self._later(member, min(RETRY * 2**member.attempts, LONGEST_RETRY), do)
        member.attempts += 1

    def _load(self) -> None:
        for path in sorted(self._folder.glob("*.json")):
            kept = json.loads(path.read_text())
            phone = fleet_people.revived(
                kept["phone"],
                transport=self._send,
                hour=self._hour,
                seed=f"{self._seed} {kept['number']} {time.time()}",
            )
            chance = random.Random(f"{self._seed} {kept['number']} again")
            member = Member(kept["number"], Mood(kept["mood"]), phone, chance, kept["link"])
            member.token_gone, member.was_enrolled = kept["token_gone"], kept["was_enrolled"]
            phone.busy = False
            self._join(member)

    def _save(self, member: Member) -> None:
        kept = {
            "number": member.number,
            "mood": member.mood.value,
            "link": member.link,
            "token_gone": member.token_gone,
            "was_enrolled": member.was_enrolled,
            "phone": member.phone.to_state(),
        }
        write_privately(self._folder / f"{member.number:06}.json", json.dumps(kept).encode())

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Each thread keeps connections of its own."""
        transport = getattr(self._of_this_thread, "transport", None)
        if transport is None:
            transport = HttpTransport(ca_file=self._ca_file)
            self._of_this_thread.transport = transport
            self._transports.append(transport)
        response: Response = transport.send(method, url, headers, body)
        return response

    def _listen(self) -> None:
        """Hear of pushes; come back when the push service was away."""
        assert self._push
        while not self._closed.is_set():
            try:
                with socket.create_connection(self._push, timeout=5) as listener:
                    listener.settimeout(None)
                    self._listener = listener
                    for member in self.members:
                        if member.token_gone:
                            self._say({"answer": member.phone.push_token.hex(), "status": 410})
                    with listener.makefile("rb") as lines:
                        for line in lines:
                            said = json.loads(line)
                            self._hears(said["token"], said["magic"])
            except (OSError, ValueError):
                pass  # it is away
            finally:
                self._listener = None
            self._closed.wait(1)

    def _say(self, words: Mapping[str, Any]) -> None:
        if listener := self._listener:
            with contextlib.suppress(OSError):  # it is told again when it is back
                listener.sendall(json.dumps(words).encode() + b"\n")


ACTIONS: dict[str, Callable[[Fleet, Member, str], str]] = {
    "set-passcode": Fleet._user_sets,
    "restart": Fleet._restarts,
    "unlock": Fleet._unlocks,
    "lose-network": Fleet._loses_network,
    "regain-network": Fleet._regains_network,
    "remove-profile": Fleet._removes,
    "forget": Fleet._forgets,
    "new-token": Fleet._new_token,
    "log-in": Fleet._logs_in,
    "log-out": Fleet._logs_out,
}


def read_links(path: Path) -> list[tuple[str, str]]:
    """Lines of `platform url`; ValueError for what is none."""
    links = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0].lower() not in KINDS:
            raise ValueError(
                f"{path}, line {number}: expected «platform url», as in «ios https://…»"
            )
        links.append((words[0], words[1]))
    return links


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it had gone already
        connection.shutdown(socket.SHUT_RDWR)
