"""Network and mobile users who log in on a Mac: who is let in, and what they show from then on."""

import secrets
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import audit, door_key, sealing
from devices.models import Device, DeviceUser, NetworkUser, UserLogin
from devices.rules import digest
from devices.rules import logins as rules
from devices.rules.channels import Platform
from devices.rules.logins import Login, Policy
from devices.rules.secret import Secret

DOMAIN = b"passcodes/network-user/v1\0"
NOBODY = Secret(b"0" * 32)  # so that a name we do not know takes as long as a wrong password


@transaction.atomic
def begin(device: Device, *, user_id: str, short_name: str | None) -> str | None:
    """The challenge, which may be empty; None: not managed for this login.

    Whatever was shown at the last login counts no more. The caller holds the device's row.
    """
    now = timezone.now()
    state = rules.begins(_policy(device), can_prove=door_key.can_open())
    nonce = secrets.token_urlsafe(32) if state is Login.CHALLENGED else ""
    _keep(
        device,
        user_id,
        short_name,
        state=state.value,
        nonce=nonce,
        nonce_until=now + rules.NONCE_LASTS if nonce else None,
        auth_token="",
        began_at=now,
    )
    match state:
        case Login.CHALLENGED:
            return digest.challenge(nonce, settings.NETWORK_USERS_REALM)
        case Login.ACCEPTED:
            _reachable(device, user_id, is_active=True)
            audit.record("login.accepted", device=device, user=user_id)
            return ""
        case _:
            _reachable(device, user_id, is_active=False)
            return None


@transaction.atomic
def prove(device: Device, *, user_id: str, short_name: str | None, response: str) -> Secret | None:
    """The AuthToken for the rest of this login; None: the digest is wrong.

    A challenge is answered once, rightly or wrongly. The caller holds the device's row.
    """
    login = UserLogin.objects.filter(device=device, user_id=user_id).first()
    if login is None or login.state != Login.CHALLENGED:
        _refused(device, user_id)
        return None  # an answer to nothing; a login that stands is not shaken by it
    nonce, until = login.nonce, login.nonce_until
    token = None
    if _is_right(response, nonce=nonce, until=until, short_name=short_name or login.short_name):
        token = Secret(secrets.token_urlsafe(32).encode())
    state = Login.PROVEN if token else Login.REFUSED
    _keep(
        device,
        user_id,
        short_name,
        state=state.value,
        nonce="",
        nonce_until=None,
        auth_token=digest.fingerprint(token) if token else "",
    )
    _reachable(device, user_id, is_active=token is not None)
    if token:
        audit.record("login.proven", device=device, user=user_id)
    else:
        _refused(device, user_id)
    return token


def obstacle(device: Device, *, user_id: str, auth_token: Secret | None) -> str | None:
    """Why this user is not heard; None where they are."""
    login = UserLogin.objects.filter(device=device, user_id=user_id).first()
    return rules.obstacle(
        Login(login.state) if login else None,
        kept=login.auth_token if login else "",
        shown=digest.fingerprint(auth_token) if auth_token else None,
    )


def end_all(device: Device) -> None:
    """The device begins anew or leaves: no AuthToken of its users counts any more."""
    logins = UserLogin.objects.filter(device=device)
    logins.filter(state=Login.ACCEPTED).delete()  # whoever needs no proof needs no new login
    logins.filter(state__in=[Login.CHALLENGED, Login.PROVEN]).update(
        state=Login.ENDED.value, nonce="", nonce_until=None, auth_token=""
    )


@transaction.atomic
def keep_password(short_name: str, password: Secret, *, realm: str) -> NetworkUser:
    """Keep what checks this password, in place of what was kept before; or door_key.NoKey."""
    known = digest.ha1(short_name, realm, password)
    key, box = door_key.seal(known, context=place(short_name, realm))
    user, _ = NetworkUser.objects.update_or_create(
        short_name=short_name, realm=realm, defaults={"key": key, "box": box}
    )
    return user


def _policy(device: Device) -> Policy:
    """Only Macs have network users, and personal ones have none that are ours."""
    if device.platform != Platform.MACOS or device.is_user_enrollment:
        return Policy.DECLINE
    return Policy(settings.NETWORK_USERS)


def _is_right(
    response: str, *, nonce: str, until: datetime | None, short_name: str | None
) -> bool:
    try:
        answer = digest.read(response)
    except digest.NotADigest:
        return False
    realm = settings.NETWORK_USERS_REALM
    user = NetworkUser.objects.filter(short_name=answer.username, realm=realm).first()
    knows = digest.is_right(answer, _known(user), nonce=nonce)
    in_time = rules.answers(nonce, given=answer.nonce, until=until, now=timezone.now())
    is_theirs = answer.realm == realm and short_name in {None, "", answer.username}
    return knows and in_time and is_theirs and user is not None


def _known(user: NetworkUser | None) -> Secret:
    if user is None:
        return NOBODY
    try:
        return door_key.unseal(bytes(user.box), context=place(user.short_name, user.realm))
    except sealing.DoesNotOpen:
        return NOBODY  # sealed to a key that the door no longer holds


def place(short_name: str, realm: str) -> bytes:
    """What the box is bound to: it serves this name in this realm."""
    return DOMAIN + realm.encode() + b"\0" + short_name.encode()


def _keep(device: Device, user_id: str, short_name: str | None, **changes: object) -> None:
    if short_name:
        changes["short_name"] = short_name
    UserLogin.objects.update_or_create(device=device, user_id=user_id, defaults=changes)


def _reachable(device: Device, user_id: str, *, is_active: bool) -> None:
    """Nobody wakes a user who is not managed for this login; what waits for them goes on waiting."""
    users = DeviceUser.objects.filter(device=device, user_id=user_id)
    if is_active:
        users.filter(push_token__isnull=False).update(is_active=True)
    else:
        users.update(is_active=False, wake_due_at=None, wake_attempts=0)


def _refused(device: Device, user_id: str) -> None:
    audit.record("login.refused", device=device, user=user_id)
