"""Bytes that must not show up in a log, a traceback, an error page or a pickle."""

from typing import NoReturn


class Secret:
    """Holds bytes; only `reveal()` gives them back.

    Two secrets are never equal, so that no assertion and no dictionary compares, or prints, what
    is inside.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A secret is neither pickled nor copied.")
