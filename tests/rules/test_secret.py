"""A secret shows itself to nobody but who asks for it by name."""

import copy
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass

import pytest

from devices.rules.secret import Secret

TOKEN = b"DATA-a-token-that-must-not-show"
SECRET = Secret(TOKEN)
SHOWN = TOKEN.decode()


@dataclass(frozen=True)
class Holder:
    token: Secret


def test_who_asks_gets_the_bytes() -> None:
    assert SECRET.reveal() == TOKEN


@pytest.mark.parametrize(
    "shown",
    [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!a}", f"{[SECRET]}", f"{Holder(SECRET)}"],
)
def test_it_prints_nothing(shown: str) -> None:
    assert SHOWN not in shown
    assert "Secret(" in shown


def test_a_log_line_and_a_traceback_show_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").error("kept %s and %r", SECRET, SECRET)
    told = "".join(traceback.format_exception(ValueError(SECRET)))
    assert "Secret(…)" in caplog.text
    assert SHOWN not in caplog.text + told


def test_it_is_neither_pickled_nor_copied() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            pickle.dumps(SECRET, protocol)
    for leak in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither"):
            leak(SECRET)
    with pytest.raises(TypeError, match="neither"):
        asdict(Holder(SECRET))


def test_two_secrets_are_never_equal_even_with_the_same_bytes() -> None:
    twin = Secret(TOKEN)
    assert twin != SECRET
    assert hash(SECRET) != hash(twin)


def test_it_has_no_dictionary_to_look_into() -> None:
    with pytest.raises(TypeError):
        vars(SECRET)
    with pytest.raises(TypeError):
        bytes(SECRET)  # type: ignore[call-overload]  # that it is refused is the point
