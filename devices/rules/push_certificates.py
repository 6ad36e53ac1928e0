"""When the end of the push certificate is announced: at 60, 30, 14, 7 and 1 days, each time once.

And how long a file that brings one may take to open: it says itself how often its password is hashed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import pkcs12

from devices.rules import ber

WARN_AT = (60, 30, 14, 7, 1)  # days before the end
WARN_BEFORE = timedelta(days=WARN_AT[0])

MOST_ROUNDS = 1_000_000  # a second or two; keychains and browsers write 600,000 at most
DIGESTS = frozenset({"sha1", "sha256", "sha384", "sha512"})


class NotPkcs12(Exception):
    """No file with a certificate and its key, or none that says how long it takes to open."""


def warning(not_after: datetime, *, warned: int | None, now: datetime) -> int | None:
    """The number of days whose warning is due now; None where it has been given, or it is early."""
    reached = [days for days in WARN_AT if now >= not_after - timedelta(days=days)]
    if not reached or now >= not_after:
        return None
    nearest = min(reached)
    return nearest if warned is None or nearest < warned else None


def opens_soon(data: bytes) -> bool:
    """Whether trying a password on this PKCS#12 file takes no longer than it should; or NotPkcs12."""
    try:
        ber.check(data)
        return all(0 < count <= MOST_ROUNDS for count in _rounds(pkcs12.Pfx.load(data)))
    except Exception:  # noqa: BLE001 - asn1crypto keeps no list of what it raises on strange bytes
        raise NotPkcs12 from None


def _rounds(file: Any) -> Iterator[int]:
    """How often the password is hashed: for the seal on all of it, and for each part."""
    if file["mac_data"].native is not None:
        if file["mac_data"]["mac"]["digest_algorithm"]["algorithm"].native not in DIGESTS:
            raise NotPkcs12  # one that counts its rounds elsewhere, and that no keychain writes
        yield file["mac_data"]["iterations"].native
    for part in file.authenticated_safe:
        if part["content_type"].native == "encrypted_data":
            inside = part["content"]["encrypted_content_info"]
            yield inside["content_encryption_algorithm"].kdf_iterations
            continue
        for bag in pkcs12.SafeContents.load(part["content"].native):
            if bag["bag_id"].native == "pkcs8_shrouded_key_bag":
                yield bag["bag_value"]["encryption_algorithm"].kdf_iterations
