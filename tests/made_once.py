"""What is costly is made once in each process that runs tests: RSA keys, what they are packed in, and the roles.

All of it is as real as if it were made anew. No test meets the same key twice.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from django.contrib.auth.models import Group

from staff.setup import setup_roles
from tests.simulator import profile

_kept: defaultdict[tuple[int, int], list[rsa.RSAPrivateKey]] = defaultdict(list)
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
