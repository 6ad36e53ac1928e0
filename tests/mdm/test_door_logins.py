"""Network and mobile users at the door: declined, let in as they are, or let in by a digest (A23)."""

import hashlib
import logging
import plistlib
import re
from collections.abc import Iterator

import pytest
from django.test import override_settings

from devices import logins
from devices.models import AuditEntry, DeviceUser, NetworkUser, UserLogin
from devices.rules.logins import NONCE_LASTS
from devices.rules.secret import Secret
from tests.house import House
from tests.macs import ask, enrolled_mac, enrolled_shared_ipad, row, state
from tests.simulator.users import Mac, User

REALM = "Example Org"
PASSWORD = "sesame 7 Straße"


@pytest.fixture
def digest() -> Iterator[None]:
    """The policy that asks for a proof, and one user whose password is known."""
    with override_settings(NETWORK_USERS="digest", NETWORK_USERS_REALM=REALM):
        yield


@pytest.fixture
def mac(house: House) -> Mac:
    return enrolled_mac(house)


@pytest.fixture
def nora(mac: Mac, digest: None) -> User:
    logins.keep_password("nora", Secret(PASSWORD.encode()), realm=REALM)
    return mac.add_user("nora", "Nora Lind", network=True, password=PASSWORD)


def login(user: User) -> UserLogin:
    return UserLogin.objects.get(user_id=user.user_id)


def token_in(body: bytes) -> str:
    return str(plistlib.loads(body)["AuthToken"])


def test_a23_by_default_a_network_user_is_declined(mac: Mac) -> None:
    nora = mac.add_user("nora", network=True, password=PASSWORD)

    assert nora.check_in("UserAuthenticate").status == 410
    assert nora.log_in() is False
    assert nora.token_update().status == 403
    assert not DeviceUser.objects.exists()


@override_settings(NETWORK_USERS="accept")
def test_a23_an_empty_challenge_lets_the_user_in_without_a_token(house: House, mac: Mac) -> None:
    nora = mac.add_user("nora", network=True)
    response = nora.check_in("UserAuthenticate")
    assert plistlib.loads(response.body) == {"DigestChallenge": ""}
    assert response.headers["content-type"].startswith("application/xml")

    assert nora.log_in() is True

    command = ask(house, nora, "ProfileList")
    nora.connect()
    assert (nora.auth_token, state(command)) == (None, "acknowledged")


def test_a23_a_right_digest_gets_a_token_that_is_repeated(house: House, nora: User) -> None:
    challenge = nora.challenge()
    assert re.fullmatch(rf'Digest nonce="[\w-]{{20,}}",realm="{REALM}"', challenge)
    assert nora.token_update().status == 403  # not before the answer

    assert nora.log_in() is True

    assert len(nora.auth_token or "") >= 32
    command = ask(house, nora, "ProfileList")
    nora.connect()
    assert state(command) == "acknowledged"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a23_apple_does_not_say_with_which_method(nora: User, method: str) -> None:
    assert token_in(nora.answer_challenge(nora.challenge(), PASSWORD, method=method).body)


def test_a23_a_digest_with_another_method_is_wrong(nora: User) -> None:
    assert token_in(nora.answer_challenge(nora.challenge(), PASSWORD, method="GET").body) == ""


def test_a23_a_wrong_digest_gets_an_empty_token(house: House, nora: User) -> None:
    response = nora.answer_challenge(nora.challenge(), "not it")

    assert (response.status, token_in(response.body)) == (200, "")
    assert nora.token_update().status == 403
    assert nora.log_in("not it") is False
    assert house.audit().count("login.refused") == 2


def test_a23_a_wrong_digest_can_be_answered_with_410(nora: User) -> None:
    with override_settings(NETWORK_USERS_REFUSED_BY_410=True):
        assert nora.answer_challenge(nora.challenge(), "not it").status == 410


def test_a23_a_nonce_is_used_once(nora: User) -> None:
    challenge = nora.challenge()
    assert token_in(nora.answer_challenge(challenge, PASSWORD).body)

    assert token_in(nora.answer_challenge(challenge, PASSWORD).body) == ""


def test_a23_a_nonce_is_used_up_by_a_wrong_answer(nora: User) -> None:
    challenge = nora.challenge()
    nora.answer_challenge(challenge, "not it")

    assert token_in(nora.answer_challenge(challenge, PASSWORD).body) == ""


def test_a23_a_second_answer_does_not_end_a_login_that_stands(nora: User) -> None:
    assert nora.log_in()

    nora.answer_challenge(f'Digest nonce="x",realm="{REALM}"', PASSWORD)

    assert nora.idle().status == 200


def test_a23_a_nonce_does_not_last(house: House, nora: User) -> None:
    challenge = nora.challenge()
    house.clock.forward(seconds=NONCE_LASTS.total_seconds())

    assert token_in(nora.answer_challenge(challenge, PASSWORD).body) == ""


def test_a23_a_nonce_is_of_one_user_on_one_mac(house: House, mac: Mac, nora: User) -> None:
    olga = mac.add_user("olga", network=True)
    elsewhere = enrolled_mac(house).add_user("nora", network=True, user_id=nora.user_id)
    challenge = nora.challenge()
    olga.challenge()
    elsewhere.challenge()

    for other in (olga, elsewhere):
        other.short_name = "nora"
        assert token_in(other.answer_challenge(challenge, PASSWORD).body) == ""
    assert token_in(nora.answer_challenge(challenge, PASSWORD).body)


def test_a23_a_user_cannot_log_in_as_somebody_else(mac: Mac, nora: User) -> None:
    olga = mac.add_user("olga", network=True)

    response = olga.answer_challenge(
        olga.challenge(), PASSWORD, username="nora", response=_digest_of("nora", olga)
    )

    assert token_in(response.body) == ""


def _digest_of(name: str, user: User) -> str:
    nonce = login(user).nonce

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    return md5(f"{md5(f'{name}:{REALM}:{PASSWORD}')}:{nonce}:{md5('PUT:/')}")


def test_a23_an_unknown_name_and_another_realm_fail(mac: Mac, nora: User) -> None:
    olga = mac.add_user("olga", network=True, password=PASSWORD)
    assert olga.authenticate() is False

    logins.keep_password("olga", Secret(PASSWORD.encode()), realm="Another Org")
    assert olga.authenticate() is False


def test_a23_a_missing_or_old_token_is_refused_and_gets_no_command(
    house: House, nora: User
) -> None:
    nora.log_in()
    first = nora.auth_token
    command = ask(house, nora, "ProfileList")
    nora.log_out()
    nora.log_in(PASSWORD)
    state_before = state(command)
    command = ask(house, nora, "SecurityInfo")
    refused_before = house.audit().count("door.refused")

    for token in (None, first, "made up", "ü" * 40):
        for response in (nora.idle(AuthToken=token), nora.token_update(AuthToken=token)):
            assert (response.status, response.body) == (403, b"")

    assert state_before == "queued"  # ProfileList is nothing that a login waits for
    assert state(command) == "queued"
    assert house.audit().count("door.refused") == refused_before + 8
    nora.connect()
    assert state(command) == "acknowledged"


def test_a23_a_token_ends_where_the_next_login_begins(nora: User) -> None:
    nora.log_in()
    token = nora.auth_token
    nora.challenge()

    assert nora.idle(AuthToken=token).status == 403


def test_a23_a_token_of_another_user_is_worth_nothing(mac: Mac, nora: User) -> None:
    logins.keep_password("olga", Secret(b"another"), realm=REALM)
    olga = mac.add_user("olga", network=True, password="another")
    assert nora.log_in()
    assert olga.log_in()

    assert olga.idle(AuthToken=nora.auth_token).status == 403
    assert olga.idle().status == 200


def test_a23_a_local_user_needs_no_token_and_may_make_none_up(mac: Mac, nora: User) -> None:
    anna = mac.add_user("anna")

    assert anna.log_in()
    assert anna.idle().status == 200
    assert anna.idle(AuthToken="made up").status == 403


def test_a23_a_declined_user_is_neither_pushed_nor_forgotten(house: House, nora: User) -> None:
    nora.log_in()
    command = ask(house, nora, "ProfileList")
    nora.log_out()

    assert nora.log_in("not it") is False

    user = row(house, nora)
    assert (user.is_active, user.wake_due_at) == (False, None)
    assert nora.log_in(PASSWORD) is True
    nora.connect()
    assert state(command) == "acknowledged"


def test_a23_a_mac_that_enrolls_anew_or_leaves_ends_every_login(
    house: House, mac: Mac, nora: User
) -> None:
    nora.log_in()
    house.give_profile(mac)
    mac.enroll()

    assert nora.idle().status == 403
    assert nora.token_update().status == 403
    assert nora.idle(AuthToken=None).status == 403
    assert login(nora).auth_token == ""
    assert nora.log_in(PASSWORD) is True

    mac.check_out()
    assert login(nora).auth_token == ""


@override_settings(NETWORK_USERS="accept")
def test_a_user_who_needs_no_proof_is_heard_after_the_mac_enrolled_anew(
    house: House, mac: Mac
) -> None:
    nora = mac.add_user("nora", network=True)
    nora.log_in()
    house.give_profile(mac)
    mac.enroll()

    assert nora.token_update().status == 200


def test_only_the_door_opens_what_is_kept_of_a_password(nora: User) -> None:
    kept = NetworkUser.objects.get()
    ha1 = hashlib.md5(f"nora:{REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()

    assert ha1.encode() not in bytes(kept.box)
    assert PASSWORD.encode() not in bytes(kept.box)


def test_a_password_that_was_moved_to_another_name_does_not_open(mac: Mac, nora: User) -> None:
    NetworkUser.objects.update(short_name="olga")
    olga = mac.add_user("olga", network=True, password=PASSWORD)

    assert olga.authenticate() is False


def test_what_is_kept_of_a_token_is_not_the_token(nora: User) -> None:
    nora.log_in()

    assert nora.auth_token
    kept = login(nora)
    assert kept.auth_token == hashlib.sha256(nora.auth_token.encode()).hexdigest()
    assert nora.auth_token not in str(AuditEntry.objects.values_list("facts", flat=True))


def test_no_log_line_holds_a_digest_or_a_token(
    nora: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    nora.log_in()
    nora.idle(AuthToken="stolen one")
    nora.answer_challenge(nora.challenge(), "not it", response="f" * 32)

    for secret in (str(nora.auth_token), "stolen one", "f" * 32, PASSWORD):
        assert secret not in caplog.text


def test_a_process_without_the_doors_key_declines(nora: User) -> None:
    with override_settings(DOOR_PRIVATE_KEY=""):
        assert nora.check_in("UserAuthenticate").status == 410


def test_a_password_sealed_to_an_earlier_key_counts_no_more(nora: User) -> None:
    with override_settings(DOOR_PRIVATE_KEY="A" * 43 + "="):
        assert nora.authenticate() is False


@override_settings(NETWORK_USERS="accept")
def test_who_has_no_network_users_is_declined(house: House) -> None:
    ipad = enrolled_shared_ipad(house)
    phone = house.enrolled_phone()
    personal = enrolled_mac(house, user_enrollment=True)

    assert ipad.add_user("anna").check_in("UserAuthenticate").status == 410
    assert phone.check_in("UserAuthenticate", UserID="9A1B").status == 410
    assert personal.add_user("nora").check_in("UserAuthenticate").status == 410


def test_a_login_on_a_mac_that_is_not_enrolled_is_refused(house: House, digest: None) -> None:
    mac = Mac(transport=house.door, clock=house.clock.seconds, seed=1)
    house.give_profile(mac)
    mac.authenticate()

    assert mac.add_user("nora").check_in("UserAuthenticate").status == 403
    assert not UserLogin.objects.exists()


@pytest.mark.parametrize(
    "response",
    [
        "Basic bm9yYTpzZXNhbWU=",
        "Digest",
        "Digest username",
        'Digest username="nora',
        'Digest username="nora",username="nora"',
        "Digest " + "a=b," * 2000,
        "Digest " + 'username="nora",realm="Example Org",nonce="\\',
        "\x01" * 10,
        "Dïgest ü=ü",
    ],
)
def test_an_answer_that_is_no_digest_is_a_wrong_one(nora: User, response: str) -> None:
    nora.challenge()
    wire = response.replace("\x01", "?")

    answer = nora.check_in("UserAuthenticate", DigestResponse=wire)

    assert (answer.status, token_in(answer.body)) == (200, "")


@pytest.mark.parametrize("keys", [{"UserID": None}, {"UserID": ""}, {"DigestResponse": b"x"}])
def test_a_login_that_makes_no_sense_is_malformed(nora: User, keys: dict[str, object]) -> None:
    assert nora.check_in("UserAuthenticate", **keys).status == 400
    assert not UserLogin.objects.exists()
