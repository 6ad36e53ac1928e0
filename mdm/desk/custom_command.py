"""The expert's page: a command of their own making for one device, and what came of the last ones."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.views.decorators.debug import sensitive_post_parameters

from devices import queue
from devices.models import CustomCommand, Device
from devices.rules.channels import REQUESTS
from mdm.desk.users import DevicePages
from passcodes import custom_command
from passcodes.admin.page import attempt, posted
from passcodes.rules.custom_command import GO_ANOTHER_WAY, Refused
from staff import permissions
from staff.permissions import person

SHOWN = 10


class CommandForm(forms.Form):
    request_type = forms.ChoiceField(label="Request type")
    user = forms.ChoiceField(label="Goes to", required=False)
    arguments = forms.CharField(
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 8, "class": "desk-input mono", "spellcheck": "false"}
        ),
        help_text="As JSON or as an XML property list, without the request type. Empty: none.",
    )
    serial = forms.CharField(
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"class": "desk-input mono", "autocomplete": "off"}),
        help_text="Only for EraseDevice: type the serial of the device. Everything on it is gone then.",
    )

    def __init__(self, device: Device, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        able = [
            request_type
            for request_type in sorted(REQUESTS)
            if request_type not in GO_ANOTHER_WAY and queue.refusal(device, request_type) is None
        ]
        users = list(device.users.filter(is_active=True))
        for user in users:
            able += [
                one
                for one in sorted(REQUESTS)
                if one not in GO_ANOTHER_WAY
                and one not in able
                and queue.refusal(device, one, user=user) is None
            ]
        self.fields["request_type"] = forms.ChoiceField(
            label="Request type",
            choices=[("", "choose one"), *((one, one) for one in able)],
            help_text="What this device can be asked, and what has no page of its own.",
        )
        channels = [("", "the device"), *((str(user.pk), f"its user {user}") for user in users)]
        self.fields["user"] = forms.ChoiceField(label="Goes to", choices=channels, required=False)


def paths(pages: DevicePages) -> list[URLPattern]:
    @sensitive_post_parameters("arguments")
    def command(request: HttpRequest, pk: int) -> HttpResponse:
        return _command(pages, request, pk)

    return [path("<int:pk>/command/", pages.admin_site.admin_view(command), name="device_command")]


def _command(pages: DevicePages, request: HttpRequest, pk: int) -> HttpResponse:
    device, user = pages.device(request, pk), person(request)
    permissions.require(user, custom_command.SEND, device=device)
    form = CommandForm(device, posted(request))
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        sent = attempt(
            request,
            lambda: custom_command.send(
                device.pk,
                request_type=said["request_type"],
                text=said["arguments"],
                user_id=int(said["user"]) if said["user"] else None,
                typed_serial=said["serial"],
                by=user,
            ),
            Refused,
        )
        if sent:
            messages.success(
                request, "Queued. The answer appears here when the device has given it."
            )
            return redirect("admin:device_command", device.pk)
    sent_before = (
        CustomCommand.objects.filter(command__device=device)
        .defer("box")
        .select_related("command", "by")
        .order_by("-command__queued_at")
    )
    return pages.page_of(
        request,
        device,
        "command.html",
        {"form": form, "sent": [_row(one) for one in sent_before[:SHOWN]]},
    )


def _row(custom: CustomCommand) -> dict[str, Any]:
    return {
        "custom": custom,
        "command": custom.command,
        "arguments": _written(custom.command.arguments),
        "answer": _written(custom.answer),
    }


def _written(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""
