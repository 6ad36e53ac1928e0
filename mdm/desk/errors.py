"""What a person reads when a page is not theirs, does not exist, or fails: words and a next step, never a code."""

import logging
from hashlib import sha256
from secrets import token_hex
from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.template.response import TemplateResponse

from devices import audit
from staff.models import User

PATH_SHOWN = 200  # characters; what somebody typed behind our address may be long
AGAIN = 60  # seconds

log = logging.getLogger(__name__)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403: the person lacks the right or the scope. Whoever is signed in leaves a trace."""
    person = getattr(request, "user", None)
    if isinstance(person, User) and _is_news(person, request.path):
        audit.record(
            "staff.forbidden",
            actor=person,
            path=request.path[:PATH_SHOWN],
            method=request.method,
            because=str(exception)[:PATH_SHOWN],
        )
    return _page(request, "403.html", 403, why=str(exception))


def not_found(
    request: HttpRequest,
    exception: Exception,  # noqa: ARG001  Django hands it over
) -> HttpResponse:
    """404: there is none, or this person may not know of it; the page is the same."""
    return _page(request, "404.html", 404)


def our_fault(request: HttpRequest) -> HttpResponse:
    """500: asks nothing of the database, which may be what has failed."""
    number = f"{token_hex(2)}-{token_hex(2)}".upper()
    log.error("Fault %s at %s", number, request.path)
    return HttpResponse(loader.get_template("500.html").render({"number": number}), status=500)


def _is_news(person: User, path: str) -> bool:
    """A page that keeps itself fresh asks again and again; once a minute is enough of a trace."""
    digest = sha256(path.encode()).hexdigest()
    return bool(cache.add(f"forbidden:{person.pk}:{digest}", value=True, timeout=AGAIN))


def _page(request: HttpRequest, template: str, status: int, **facts: Any) -> HttpResponse:
    """With the desk around it for whoever may see the desk, alone for everybody else."""
    person = getattr(request, "user", None)
    is_staff = isinstance(person, User) and admin.site.has_permission(request)
    context = {
        **(admin.site.each_context(request) if is_staff else {}),
        "around": "admin/base_site.html" if is_staff else "desk/alone.html",
        "is_signed_in": isinstance(person, User),
        **facts,
    }
    response = TemplateResponse(request, template, context, status=status)
    return response.render()
