"""The two addresses that devices call: read the body, ask who is calling, parse, act, answer."""

import logging
from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError

from devices import audit
from devices.models import Device
from mdm.door import checkin as checkins
from mdm.door import connect as commands
from mdm.door import identity, keys
from mdm.door.identity import Caller, NotKnown
from mdm.wire import messages, reports
from mdm.wire.messages import Malformed

log = logging.getLogger(__name__)

LONGEST_CHECK_IN = 256 * 1024
LONGEST_REPORT = 10 * 1024 * 1024  # a list of all profiles or apps
PLIST = "application/xml"


class TooLarge(Exception):
    """More than any device has to say."""


def checkin(request: HttpRequest) -> HttpResponse:
    """PUT /mdm/checkin"""

    def act(caller: Caller, body: bytes) -> HttpResponse:
        answer = checkins.check_in(caller, messages.parse(body))
        return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)

    return _whole(_answer(request, LONGEST_CHECK_IN, act))


def connect(request: HttpRequest) -> HttpResponse:
    """PUT /mdm/connect"""

    def act(caller: Caller, body: bytes) -> HttpResponse:
        command = commands.connect(caller, reports.parse(body))
        return HttpResponse(command, content_type=f"{PLIST}; charset=UTF-8")

    return _whole(_answer(request, LONGEST_REPORT, act))


def _whole(response: HttpResponse) -> HttpResponse:
    """With its length, so that it goes out in one piece and not in chunks."""
    response["Content-Length"] = str(len(response.content))
    return response


def _answer(
    request: HttpRequest, limit: int, act: Callable[[Caller, bytes], HttpResponse]
) -> HttpResponse:
    """Apple's own words for each case. Never 401: it would make the device leave."""
    if request.method == "GET" and "keys" in request.GET:
        return keys.page()
    if request.method != "PUT":
        return HttpResponseNotAllowed(["PUT"])
    caller = None
    try:
        body = _body(request, limit)
        caller = identity.caller(request, body)
        return act(caller, body)
    except TooLarge:
        log.warning("%s: the body is too large.", request.path)
        return HttpResponse(status=413)
    except (Malformed, UnreadablePostError) as fault:
        kind = str(fault) if isinstance(fault, Malformed) else "the body broke off"
        log.warning("%s: malformed, %s.", request.path, kind)
        return HttpResponse(status=400)
    except NotKnown as refused:
        _refuse(request, caller, str(refused))
        return HttpResponse(status=403)


def _body(request: HttpRequest, limit: int) -> bytes:
    body = request.read(limit + 1)
    if len(body) > limit:
        raise TooLarge
    return bytes(body)


@transaction.atomic
def _refuse(request: HttpRequest, caller: Caller | None, kind: str) -> None:
    """Leave a trace; it is the only thing that a refusal changes."""
    log.warning("%s: refused, %s.", request.path, kind)
    device = Device.objects.filter(identity=caller.digest).first() if caller else None
    audit.record(
        "door.refused",
        device=device,
        kind=kind,
        door=request.path,
        identity=caller.digest if caller else None,
    )


def bad_request(_request: HttpRequest, *_: object, **_fault: object) -> HttpResponse:
    return HttpResponse(status=400)


def forbidden(_request: HttpRequest, *_: object, **_fault: object) -> HttpResponse:
    return HttpResponse(status=403)


def not_found(_request: HttpRequest, *_: object, **_fault: object) -> HttpResponse:
    return HttpResponse(status=404)


def our_fault(_request: HttpRequest) -> HttpResponse:
    """The device repeats what it said."""
    return HttpResponse(status=500)
