"""What is said once for several clears: by who asks, and by the colleague who has seen the devices."""

from collections.abc import Iterable
from typing import Any

from django import forms

from passcodes.admin.asking import WhyForm
from passcodes.rules import possession
from passcodes.rules.clearing import Reason
from passcodes.rules.possession import How

PROOFS = {
    How.WITNESS: "A colleague sees them too, reads their serial numbers, and confirms it",
    How.WORD: "I give my word, and have read the serial number of each",
}
SERIALS = {"rows": 4, "class": "desk-input mono", "spellcheck": "false"}


class SeveralForm(WhyForm):
    """What helpdesk says once for all of them."""

    how = forms.ChoiceField(
        choices=[(how.value, words) for how, words in PROOFS.items()],
        widget=forms.RadioSelect,
        label="What shows it",
    )
    read = forms.CharField(
        label="Serial numbers, as read off the devices",
        required=False,
        widget=forms.Textarea(attrs=SERIALS),
        help_text=(
            f"Type or scan each, whole or its last {possession.SERIAL_END} characters. "
            "Only for your own word; a colleague who confirms reads them for themselves."
        ),
    )

    def __init__(self, *args: Any, hows: Iterable[How], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [(how.value, PROOFS[how]) for how in hows]
        how = self.fields["how"]
        assert isinstance(how, forms.ChoiceField)
        how.choices = offered
        how.initial = offered[0][0] if offered else ""
        self.fields["reason"].initial = Reason.REFRESH.value
        self.fields[
            "words"
        ].help_text = "What happens with these devices. The approver reads this."
        self.fields["holder"].label = "Who holds them, and where"
        self.fields["holder"].help_text = "A member of the organisation must have them in hand."


class WitnessForm(forms.Form):
    read = forms.CharField(
        label="Serial numbers, as you read them off the devices",
        widget=forms.Textarea(attrs=SERIALS),
        help_text=f"Each, whole or its last {possession.SERIAL_END} characters.",
    )
