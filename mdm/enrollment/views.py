"""The address behind an enrollment link."""

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from mdm.enrollment import links
from mdm.wire.profile import MEDIA_TYPE

UNKNOWN, USED_UP = 404, 410


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


def _words(sentence: str, status: int) -> HttpResponse:
    response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response
