"""Every target takes real bytes, and what is near them; guided fuzzing begins where this ends."""

import base64
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SECRET
from tests.fuzz.targets import TARGETS

REFUSED_WHOLE = {"passkey", "push_certificate", "profiles", "charter"}  # some of their seeds are


@cache
def seeds(name: str) -> list[bytes]:
    return list(TARGETS[name].seeds())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_real_bytes_are_taken_and_no_secret_prints(name: str) -> None:
    answers = [TARGETS[name](seed) for seed in seeds(name)]
    taken = [answer for answer in answers if answer is not None]
    assert len(taken) == len(answers) or (taken and name in REFUSED_WHOLE)
    for shown in (repr(taken), str(taken)):
        assert SECRET not in shown
        assert base64.b64encode(SECRET.encode()).decode() not in shown


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_near_them_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(seeds(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        piece = data.draw(st.binary(max_size=4))
        damaged[at : at + data.draw(st.integers(0, 4))] = piece
    TARGETS[name](bytes(damaged))


@pytest.mark.parametrize("name", sorted(name for name in TARGETS if TARGETS[name].near))
@settings(max_examples=30)
@given(said=st.binary(max_size=12))
def test_what_is_odd_in_them_is_taken_or_refused(name: str, said: bytes) -> None:
    near = TARGETS[name].near
    assert near
    TARGETS[name](near(seeds(name), said))
