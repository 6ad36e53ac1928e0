"""What a check-in is answered, where the answer is more than a status; the only place that writes these tokens."""

import plistlib

from devices.rules.secret import Secret


def digest_challenge(challenge: str) -> bytes:
    """To a UserAuthenticate without a digest; an empty one asks for none."""
    return plistlib.dumps({"DigestChallenge": challenge})


def auth_token(token: Secret | None) -> bytes:
    """To a UserAuthenticate with a digest; an empty one says that the digest was wrong."""
    return plistlib.dumps({"AuthToken": token.reveal().decode() if token else ""})


def bootstrap_token(token: Secret) -> bytes:
    return plistlib.dumps({"BootstrapToken": token.reveal()})
