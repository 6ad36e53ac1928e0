"""The way out to a push service: what is handed over, what comes back, and which one is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

from devices.rules.secret import Secret
from devices.rules.waking import Outcome


@dataclass(frozen=True, slots=True)
class Address:
    """Where to reach one device or one user; it does not print what only Apple and they know."""

    key: int
    token: bytes = field(repr=False)
    magic: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The push certificate, opened."""

    topic: str
    certificate: str = field(repr=False)  # PEM
    key: Secret  # PEM


class Transport(Protocol):
    def send(
        self, addresses: Sequence[Address], *, credentials: Credentials
    ) -> Mapping[int, Outcome]:
        """Push to every address. One without an answer was not pushed: the drain had stopped."""


def transport() -> Transport:
    return cast("Transport", import_string(settings.APNS_TRANSPORT)())
