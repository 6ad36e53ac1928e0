"""What is costly is made once in each process that runs tests: RSA keys, what they are packed in, the roles,
and what every house is born with.

All of it is as real as if it were made anew. No test meets the same key twice.
"""

import atexit
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model

from staff.setup import setup_roles
from tests.own_database import kinds_of_rows
from tests.simulator import profile

_kept: defaultdict[tuple[int, int], list[rsa.RSAPrivateKey]] = defaultdict(list)
_births: dict[str, "Birth"] = {}  # by the name of the database, whose numbers they have used up
_roles: list[tuple[str, list[int]]] = []  # name, and its rights by number


@contextmanager
def rsa_keys() -> Iterator[None]:
    """Who makes RSA keys in here is given those that others made before, each of them once."""
    make = rsa.generate_private_key
    given: defaultdict[tuple[int, int], Iterator[int]] = defaultdict(count)

    def give(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:
        kind = (public_exponent, key_size)
        if (at := next(given[kind])) == len(_kept[kind]):
            _kept[kind].append(make(public_exponent, key_size))
        return _kept[kind][at]

    with patch.object(rsa, "generate_private_key", give):
        yield


@contextmanager
def bundles() -> Iterator[None]:
    """A phone that opens a PKCS#12 which was packed in here is given what was packed, for its password.

    OpenSSL proves each RSA key that it reads, which takes longer than the rest of an enrollment.
    """
    pack, unpack = pkcs12.serialize_key_and_certificates, profile.opened
    packed: dict[tuple[bytes, bytes], tuple[object, x509.Certificate | None]] = {}

    def packs(name: Any, key: Any, certificate: Any, others: Any, lock: Any) -> bytes:
        bundle = pack(name, key, certificate, others, lock)
        packed[bundle, getattr(lock, "password", b"")] = key, certificate
        return bundle

    def opens(bundle: bytes, password: bytes) -> tuple[object, x509.Certificate | None]:
        return packed.get((bundle, password)) or unpack(bundle, password)

    with (
        patch.object(pkcs12, "serialize_key_and_certificates", packs),
        patch.object(profile, "opened", opens),
    ):
        yield


def roles() -> None:
    """The groups of all roles, in a database that may have none yet."""
    if not _roles or Group.objects.exists():
        _roles[:] = [
            (group.name, list(group.permissions.values_list("pk", flat=True)))
            for group in setup_roles()
        ]
        return
    groups = Group.objects.bulk_create(Group(name=name) for name, _ in _roles)
    holds = Group.permissions.through
    holds.objects.bulk_create(
        holds(group=group, permission_id=right)
        for group, (_, rights) in zip(groups, _roles, strict=True)
        for right in rights
    )


@dataclass(frozen=True, slots=True)
class Birth:
    """The first rows of a house, and its vault's folder."""

    rows: list[list[Model]]  # of one kind each
    folder: Path


def birth(vault_state: Path, make: Callable[[], None]) -> None:
    """`make` has been called in this database and this empty folder.

    It is called the first time, in an empty database; later its rows come back with the numbers they had.
    """
    if known := _births.get(connection.settings_dict["NAME"]):
        for some in known.rows:
            type(some[0])._default_manager.bulk_create(some)
        shutil.copytree(known.folder, vault_state, dirs_exist_ok=True)
        return
    was_empty = not kinds_of_rows()
    make()
    if was_empty:
        kept = Path(mkdtemp(prefix="passcodes-birth-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        shutil.copytree(vault_state, kept, dirs_exist_ok=True)
        rows = [list(model._default_manager.all()) for model in kinds_of_rows()]
        _births[connection.settings_dict["NAME"]] = Birth(rows, kept)
