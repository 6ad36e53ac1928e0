"""The digest of a network user: made here once more, by RFC 2617's own example and by hand."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.rules import digest
from devices.rules.digest import NotADigest
from devices.rules.secret import Secret

NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def answer(*, method: str = "PUT", word: str = "sesame", **parts: str) -> str:
    known = {"username": "nora", "realm": "Org", "nonce": NONCE, "uri": "/", **parts}
    ha1 = md5(f"{known['username']}:{known['realm']}:{word}")
    ha2 = md5(f"{method}:{known['uri']}")
    response = md5(f"{ha1}:{known['nonce']}:{ha2}")
    known.setdefault("response", response)
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in known.items())


HA1 = digest.ha1("nora", "Org", Secret(b"sesame"))


def test_ha1_is_of_name_realm_and_password() -> None:
    assert HA1.reveal().decode() == md5("nora:Org:sesame")
    umlauts = digest.ha1("nóra", "Örg", Secret("Straße".encode()))
    assert umlauts.reveal().decode() == md5("nóra:Örg:Straße")


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("uri", ["/", "/mdm/checkin", ""])
def test_the_right_password_is_right(method: str, uri: str) -> None:
    assert digest.is_right(digest.read(answer(method=method, uri=uri)), HA1, nonce=NONCE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"word": "sesam"},
        {"method": "GET"},
        {"realm": "org"},
        {"username": "Nora"},
        {"nonce": "another"},
        {"response": "0" * 32},
    ],
)
def test_anything_else_is_wrong(wrong: dict[str, str]) -> None:
    assert not digest.is_right(digest.read(answer(**wrong)), HA1, nonce=NONCE)


def test_the_answer_may_be_written_in_capitals_and_without_quotes() -> None:
    said = answer()
    given_response = digest.read(said).response
    said = said.replace(f'"{given_response}"', given_response.upper()).replace("Digest", "DIGEST")

    assert digest.is_right(digest.read(said), HA1, nonce=NONCE)


def test_a_client_that_counts_its_answers_is_understood() -> None:
    middle = f"{NONCE}:00000001:abc:auth"
    response = md5(f"{HA1.reveal().decode()}:{middle}:{md5('PUT:/')}")
    said = answer(response=response) + ', qop=auth, nc=00000001, cnonce="abc", algorithm=MD5'

    assert digest.is_right(digest.read(said), HA1, nonce=NONCE)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Basic x",
        "Digest",
        answer() + ', algorithm="MD5-sess"',
        answer() + ', qop="auth-int"',
        answer() + ', nonce="again"',
        answer(response="short"),
        answer(response="g" * 32),
        answer() + "," + "x" * digest.LONGEST,
        answer() + " trailing words",
    ],
)
def test_what_is_no_digest_is_refused_without_quoting_it(said: str) -> None:
    with pytest.raises(NotADigest) as refused:
        digest.read(said)
    assert NONCE not in str(refused.value)


def test_a_response_does_not_print_its_digest() -> None:
    read = digest.read(answer())
    assert read.response not in repr(read)


@given(st.text('abc \\"=,ü', max_size=40))
def test_no_realm_breaks_out_of_the_challenge(realm: str) -> None:
    asked = digest.challenge(NONCE, realm).replace("realm=", "username=")
    parts = f'{asked},realm="Org",uri="/",response="{"0" * 32}"'

    assert digest.read(parts).username == realm


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(NotADigest):
        digest.read("Digest " + text)


def test_what_is_kept_of_a_token_is_its_digest() -> None:
    assert digest.fingerprint(Secret(b"token")) == hashlib.sha256(b"token").hexdigest()
