"""Whether a network or mobile user of a Mac is managed while logged in, and what shows that it is them.

At each login the Mac asks (Apple: "UserAuthenticate"). Declined, the user is not managed until the
next login. With an empty challenge they are managed as they are. With a digest they must know their
password, get an AuthToken, and repeat it in everything they say until the next login.

A user who never asked is a local one, whom the Mac itself has let in.
"""

import hmac
from datetime import datetime, timedelta
from enum import StrEnum

NONCE_LASTS = timedelta(minutes=2)  # between the challenge and its answer nobody types anything


class Policy(StrEnum):
    """What network and mobile users are answered."""

    DECLINE = "decline"
    ACCEPT = "accept"  # a challenge of zero length: managed without a password
    DIGEST = "digest"


class Login(StrEnum):
    """How far a login has gone. It counts until the next one, or until the Mac enrolls anew."""

    DECLINED = "declined"
    ACCEPTED = "accepted"
    CHALLENGED = "challenged"
    PROVEN = "proven"
    REFUSED = "refused"  # the wrong password, or an answer to no challenge of ours
    ENDED = "ended"  # the Mac has enrolled anew or left


BEGINS = {
    Policy.DECLINE: Login.DECLINED,
    Policy.ACCEPT: Login.ACCEPTED,
    Policy.DIGEST: Login.CHALLENGED,
}


def begins(policy: Policy, *, can_prove: bool) -> Login:
    """Where a login begins. A Mac that cannot be asked for a proof is not believed without one."""
    if policy is Policy.DIGEST and not can_prove:
        return Login.DECLINED
    return BEGINS[policy]


def answers(nonce: str, *, given: str, until: datetime | None, now: datetime) -> bool:
    """Whether the answer is to the one challenge that is open, and in time."""
    return bool(
        nonce and until and now < until and hmac.compare_digest(nonce.encode(), given.encode())
    )


def obstacle(login: Login | None, *, kept: str, shown: str | None) -> str | None:
    """Why the user is not heard, as a kind of fault for the log; None where they are.

    `kept` and `shown` are digests of AuthTokens: the one of this login, and the one in the message.
    """
    match login:
        case None:
            return None if shown is None else "an AuthToken that we did not give"
        case Login.ACCEPTED:
            return None
        case Login.PROVEN:
            if shown is None:
                return "a user without the AuthToken of this login"
            if not kept or not hmac.compare_digest(kept, shown):
                return "a user with the AuthToken of another login"
            return None
        case _:
            return "a user who is not managed for this login"
