"""What the commands of a key ceremony share: files for our eyes only, and passphrases."""

import os
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.core.management.base import CommandError

from devices import custodians
from devices.custodians import NotReadable
from devices.rules.secret import Secret


def write(file: Path, content: str | bytes) -> None:
    """A file that only we can read. One that is there stays: it may be the only copy."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(f"{file} exists; move it away first.") from None
    except OSError as problem:
        raise CommandError(f"{file} cannot be written: {problem.strerror}.") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content.encode() if isinstance(content, str) else content)
        opened.flush()
        os.fsync(opened.fileno())


def read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"{file} cannot be read.") from None


def passphrase(whose: str, file: Path | None, *, twice: bool = False) -> Secret:
    """Typed, or from a file; never from the command line, which others on the machine can read."""
    if file is not None:
        return Secret(read(file).rstrip("\n").encode())
    typed = getpass(f"Passphrase of {whose}: ")
    if twice and getpass("Once more: ") != typed:
        raise CommandError("The two differ.")
    return Secret(typed.encode())


def custodians_keys(files: Sequence[Path], passphrases: Sequence[Path]) -> list[X25519PrivateKey]:
    """The keys of the custodians who are here, each after their passphrase."""
    typed = [*passphrases, *[None] * (len(files) - len(passphrases))]
    try:
        return [
            custodians.private(read(file), passphrase(file.name, secret))
            for file, secret in zip(files, typed, strict=True)
        ]
    except NotReadable as problem:
        raise CommandError(str(problem)) from None
