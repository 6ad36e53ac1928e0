"""The addresses by which a device gets in: behind an enrollment link, and SCEP's."""

import base64
import logging

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError

from mdm.enrollment import links, scep
from mdm.wire.profile import MEDIA_TYPE
from mdm.wire.scep import Malformed

log = logging.getLogger(__name__)

BAD, UNKNOWN, USED_UP, TOO_LARGE, NOT_SERVED = 400, 404, 410, 413, 501
LONGEST_MESSAGE = 64 * 1024  # bytes; a real one has three thousand
PKI_MESSAGE = "application/x-pki-message"
CERTIFICATE = "application/x-x509-ca-cert"


def profile(request: HttpRequest, token: str) -> HttpResponse:
    """GET /enroll/<token>: the profile, once."""
    if request.method != "GET":  # a HEAD would use the link up and bring nothing
        return HttpResponseNotAllowed(["GET"])
    try:
        data = links.redeem(token)
    except links.Unknown as refused:
        return _words(str(refused), UNKNOWN)
    except links.Refused as refused:
        return _words(str(refused), USED_UP)
    response = HttpResponse(data, content_type=MEDIA_TYPE)
    response["Content-Disposition"] = 'attachment; filename="enrollment.mobileconfig"'
    response["Cache-Control"] = "no-store"
    return response


def certificates(request: HttpRequest) -> HttpResponse:
    """/scep?operation=…: RFC 8894, 4. Operations are compared as leniently as clients write them."""
    operation = request.GET.get("operation", "").lower()
    if operation == "pkioperation":
        return _pki_operation(request)
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    match operation:
        case "getcacaps":
            return HttpResponse(scep.capabilities(), content_type="text/plain")
        case "getcacert":
            return HttpResponse(scep.authority_certificate(), content_type=CERTIFICATE)
    return _words("No operation of SCEP's that is answered here.", BAD)


def _pki_operation(request: HttpRequest) -> HttpResponse:
    try:
        if (
            request.method == "POST"
        ):  # some clients repeat the message in the query; nobody reads it
            message = bytes(request.read(LONGEST_MESSAGE + 1))
        elif request.method == "GET":
            written = request.GET.get("message", "").replace(" ", "+")  # a plus left unescaped
            message = base64.b64decode("".join(written.split()), validate=True)
        else:
            return HttpResponseNotAllowed(["GET", "POST"])
        if len(message) > LONGEST_MESSAGE:
            return HttpResponse(status=TOO_LARGE)
        answer = scep.answer(message)
    except (Malformed, ValueError, UnreadablePostError) as fault:  # no base64, or no ASCII
        kind = str(fault) if isinstance(fault, Malformed) else "not base64, or broken off"
        log.warning("%s: malformed, %s.", request.path, kind)
        return _words("This is no message of SCEP's.", BAD)
    except scep.NotServed:
        return _words("There is no SCEP here: the authority's key is not RSA.", NOT_SERVED)
    response = HttpResponse(answer, content_type=PKI_MESSAGE)
    response["Cache-Control"] = "no-store"
    return response


def _words(sentence: str, status: int) -> HttpResponse:
    response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response
