"""What a person does on the signing page, without a browser: read what is told, and sign it."""

import re
from base64 import urlsafe_b64decode
from html import unescape
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.test import Client

from tests.authenticator import Passkey, text

SIGNED = "/staff/signingkey/signed/"


def is_there(location: str) -> bool:
    return location.startswith(f"{settings.SIGN_URL}/#")


def data(told: str) -> bytes:
    return urlsafe_b64decode(told + "=" * (-len(told) % 4))


def told(location: str) -> dict[str, str]:
    """What stands behind the #."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).fragment).items()}


def answer(location: str, passkey: Passkey) -> dict[str, str]:
    """What comes back to the staff site."""
    said = told(location)
    if "r" in said:
        return {"r": said["r"], **Passkey().register(data(said["r"]))}  # always a new one
    assert text(passkey.id) in said["k"].split(",")
    return {"s": said["s"], **passkey.sign(data(said["s"])).assertion}


def place(response: Any) -> str:
    """Where the answer leads: by its header, or by a link where that is too long for one."""
    if response.status_code == HTTPStatus.OK and not response.streaming:
        link = re.search(r'href="([^"]+)" data-lead', response.content.decode(errors="replace"))
        return unescape(link[1]) if link else ""
    return str(response.headers.get("Location", ""))


def sign(client: Client, response: Any, passkey: Passkey) -> Any:
    """Sign what a form has led to, and come back; the page that it leads to in the end."""
    location = place(response)
    if not is_there(location):
        return client.get(location) if location else response
    return client.post(SIGNED, answer(location, passkey), follow=True)
