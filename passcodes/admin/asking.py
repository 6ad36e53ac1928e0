"""The form in which helpdesk asks for a clear, with the code on the lock screen in the midst of it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest

from devices.models import Device
from passcodes import codes
from passcodes.models import LockScreenCode
from passcodes.rules import clearing as rules
from passcodes.rules import codes as code_rules
from passcodes.rules.clearing import Reason
from passcodes.rules.codes import State
from passcodes.rules.possession import SERIAL_END, How
from staff.models import User
from staff.permissions import Forbidden

SHOW, CHECK = "show", "check"
OTHER_EVIDENCE = (
    (How.WITNESS.value, "A colleague sees it too, and confirms it on the request’s page"),
    (How.WORD.value, "I give my word, and type the end of its serial number"),
)


class WhyForm(forms.Form):
    """What an approver reads of whoever asks, for one device or for many."""

    reason = forms.ChoiceField(
        choices=[(reason.value, rules.REASONS_IN_WORDS[reason]) for reason in Reason],
        widget=forms.RadioSelect,
        label="Why",
    )
    words = forms.CharField(
        label="In your words",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"}),
        help_text="What happened, and who calls. The approver reads this.",
    )
    holder = forms.CharField(
        label="Who holds it, and where",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"}),
        help_text="A member of the organisation must have it in hand.",
    )


class AskForm(WhyForm):
    """What helpdesk says when they ask for a clear."""

    how = forms.ChoiceField(
        choices=OTHER_EVIDENCE,
        widget=forms.RadioSelect,
        required=False,
        initial=How.WORD.value,
        label="Other evidence",
    )
    serial_end = forms.CharField(
        label=f"Last {SERIAL_END} characters of its serial number",
        max_length=SERIAL_END,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "desk-input mono"}),
        help_text="Read off the device itself: Settings, General, About, its back or its SIM tray.",
    )

    def possession(self, code: LockScreenCode | None) -> dict[str, str]:
        """The proof as it is offered: a code that was read is stronger than anything else."""
        proof = {"words": self.cleaned_data["holder"]}
        if code is not None and code.state == State.PROVEN:
            return {**proof, "how": How.CODE.value, "code": code.pk.hex}
        how = self.cleaned_data["how"] or How.WORD.value
        return {**proof, "how": how, "serial_end": self.cleaned_data["serial_end"]}


def deed(request: HttpRequest, code: LockScreenCode | None) -> str:
    """Which button it was; Return in the field of the digits checks them."""
    if chosen := request.POST.get("deed", ""):
        return chosen
    is_typed = code is not None and code.state == State.SHOWN and request.POST.get("digits")
    return CHECK if is_typed else ""


def about_the_code(
    request: HttpRequest, which: str, device: Device, code: LockScreenCode | None, *, by: User
) -> None:
    """Show one, or hand its digits to the vault; what is refused is said as it stands."""
    try:
        if which == SHOW:
            codes.wish(device.pk, by=by)
        elif code is None:
            messages.error(request, "No code was asked for. Next: show one on its lock screen.")
        else:
            codes.type_in(code.pk, request.POST.get("digits", ""), by=by)
    except (code_rules.Refused, Forbidden) as refused:
        messages.error(request, str(refused))


def facts(device: Device, *, by: User) -> dict[str, Any]:
    """What the page says of the code."""
    code = codes.latest(device, by=by)
    return {
        "code": code,
        "code_result": code.message_result if code else "",
        "code_unable": codes.unable(device),
        "code_digits": code_rules.DIGITS,
        "code_waits": code is not None and bool(code.typed),
    }
