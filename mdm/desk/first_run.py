"""The setup page: from an empty database to the first device, and afterwards whether all still stands."""

import json
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from devices import audit, trials
from devices.models import Device
from mdm.desk import first_addresses, first_checks, first_keys, first_people
from mdm.desk.first_checks import CHECKIN, CONNECT, SIGNING, Step
from mdm.setup import answering
from staff.models import User
from staff.permissions import Forbidden, person

RIGHT = "devices.change_houserules"
PATIENCE = 5.0  # seconds for each address


class MailForm(forms.Form):
    to = forms.EmailField(
        label="Send a test mail to",
        widget=forms.EmailInput(attrs={"class": "desk-input", "autocomplete": "email"}),
    )


def page(request: HttpRequest) -> HttpResponse:
    _allow(request)
    return _show(request, MailForm(initial={"to": person(request).email}))


@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """Try again whatever goes over a network: what this process can here, the rest by the worker."""
    user = _allow(request)
    _ask_the_door(CHECKIN, "/mdm/checkin")
    _ask_the_door(CONNECT, "/mdm/connect")
    _ask_the_signing_page()
    trials.ask(trials.PUSH)
    audit.record("setup.tried", actor=user)
    messages.success(request, "Tried again. What the worker tries is here within seconds.")
    return redirect("admin:setup")


@require_POST
def mail(request: HttpRequest) -> HttpResponse:
    """The worker alone knows the mail server; its answer is on the page within seconds."""
    user = _allow(request)
    form = MailForm(request.POST)
    if not form.is_valid():
        return _show(request, form)
    trials.ask(trials.MAIL, to=form.cleaned_data["to"], by=user.get_username())
    audit.record("setup.mail", actor=user)
    return redirect(f"{reverse('admin:setup')}#mail")


def facts(request: HttpRequest, form: forms.Form | None = None) -> dict[str, Any]:
    """What the template needs; for who may not set up, whom to ask."""
    user = person(request)
    if not user.has_perm(RIGHT):
        return {"setup_admins": first_people.ask_whom("admin")}
    all_steps = steps(request.get_host())
    needed = [one for one in all_steps if not one.can_wait]
    left = [one for one in needed if not one.is_done]
    return {
        "setup_steps": all_steps,
        "setup_left": len(left),
        "setup_wrong": sum(one.is_wrong for one in all_steps),
        "setup_has_devices": Device.objects.enrolled().exists(),
        "setup_now": left[0].slug if left else "",
        "mail_form": form or MailForm(initial={"to": user.email}),
    }


def steps(host: str) -> list[Step]:
    """All of them, in the order in which they are taken."""
    known = first_checks.read(host)
    return [
        Step(
            "keys",
            "Keys",
            "Each process holds its own, and the public halves of others’.",
            tuple(first_keys.keys(known)),
        ),
        Step(
            "address",
            "Addresses",
            "Where devices and people come. The door’s and the signing page’s cannot change later.",
            tuple(first_addresses.addresses(known)),
        ),
        Step(
            "authority",
            "Authority",
            "It gives each device its identity.",
            tuple(first_keys.authority(known)),
        ),
        Step(
            "push",
            "Push certificate",
            "Without it no device can be woken. It lasts a year, and is always renewed with the same "
            "Apple Account.",
            tuple(first_addresses.push(known)),
        ),
        Step(
            "mail",
            "Mail",
            "Approvers are told by it. Without it they see what waits when they look.",
            tuple(first_addresses.mail(known)),
            can_wait=True,
        ),
        Step(
            "people",
            "First approvers",
            "One asks, another signs, two keepers say who may; each with a passkey that the vault "
            "knows.",
            tuple(first_people.people()),
        ),
        Step(
            "policy",
            "First policy",
            "What a passcode must be, published and pushed to a group that devices join.",
            tuple(first_people.policy()),
        ),
        Step(
            "device",
            "First device",
            "By a link that serves once, for 24 hours.",
            tuple(first_people.device()),
        ),
    ]


def _allow(request: HttpRequest) -> User:
    user = person(request)
    if not user.has_perm(RIGHT):
        raise Forbidden(f"Setting up is for admins. {first_people.ask_whom('admin')}")
    return user


def _show(request: HttpRequest, form: forms.Form) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Setup",
        **facts(request, form),
    }
    return TemplateResponse(request, "desk/setup.html", context)


def _ask_the_door(what: str, path: str) -> None:
    """Over TLS, with the pinned authority alone, as a device that has enrolled would do it."""
    url = f"{settings.DOOR_URL.rstrip('/')}{path}"
    if url.startswith("http://") and not settings.DEMO:
        trials.note(what, works=False, words=f"{url} is not HTTPS: no device would come.")
        return
    try:
        answer = answering.ask(
            f"{url}?keys", authority=settings.DOOR_TLS_AUTHORITY, alone=True, patience=PATIENCE
        )
        said = json.loads(answer.body)
        assert isinstance(said, dict)
    except answering.Silent as reason:
        trials.note(what, works=False, words=str(reason).replace("?keys", ""))
        return
    except (ValueError, AssertionError):
        trials.note(what, works=False, words=f"{url} answers, and is not the door.")
        return
    if url.startswith("http://"):
        how = "without TLS, which is good for the demo alone"
    elif settings.DOOR_TLS_AUTHORITY:
        how = "over TLS, under the pinned authority"
    else:
        how = "over TLS"
    trials.note(what, works=True, words=f"{url} answers {how}", **said)


def _ask_the_signing_page() -> None:
    try:
        answer = answering.ask(f"{settings.SIGN_URL}/", patience=PATIENCE)
    except answering.Silent as reason:
        trials.note(SIGNING, works=False, words=str(reason))
        return
    if answering.is_closed(answer):
        trials.note(SIGNING, works=True, words=f"{settings.SIGN_URL} answers, with its headers")
    else:
        words = f"{settings.SIGN_URL} lacks the headers of deploy/nginx.conf, or is another page."
        trials.note(SIGNING, works=False, words=words)
