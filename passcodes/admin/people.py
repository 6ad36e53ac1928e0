"""Which users of Macs and Shared iPads: a person names them by the serial of the device and the short name."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet

from devices.models import DeviceUser
from passcodes.admin.targets import MOST, NAMED, Targets
from staff import permissions
from staff.models import User


def users_of(user: User) -> QuerySet[DeviceUser]:
    """The users on devices that the person may act on; nobody who has left."""
    return (
        DeviceUser.objects.there()
        .filter(device__in=permissions.visible(user))
        .select_related("device")
        .order_by("device__serial", "short_name", "pk")
    )


def line_of(user: DeviceUser) -> str:
    """How the user is named in `read_users`."""
    return f"{user.device.serial or user.device.udid} {user}"


def read_users(text: str, *, by: User) -> set[int]:
    """The users behind lines of serial and short name; ValidationError names what nobody knows."""
    lines = {
        tuple(line.split(maxsplit=1)): line.strip() for line in text.splitlines() if line.strip()
    }
    if len(lines) > MOST:
        raise forms.ValidationError(
            f"{len(lines):,} users are too many for one go: {MOST:,} at most. Choose a group."
        )
    named = {words for words in lines if len(words) == 2}  # noqa: PLR2004 - a serial and a name
    devices = {serial for serial, _ in named}
    found = users_of(by).filter(
        Q(device__serial__in=devices) | Q(device__udid__in=devices),
        Q(short_name__in={name for _, name in named})
        | Q(user_id__in={name for _, name in named}, short_name=""),
    )
    known: dict[tuple[str, ...], int] = {}
    for user in found:
        for serial in (user.device.serial, user.device.udid):
            known[serial, str(user)] = user.pk
    if missing := [line for words, line in lines.items() if words not in known]:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise forms.ValidationError(
            f"Not among the users that you may act on: {', '.join(missing[:NAMED])}{more}."
        )
    return {known[words] for words in lines}


class Whom(Targets):
    """Groups and devices; of a configuration for users all users of those, and single ones."""

    people = forms.CharField(
        label="Single users",
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "desk-input mono", "spellcheck": "false"}
        ),
        help_text="One a line: the serial of the Mac or Shared iPad, a space, the short name.",
    )

    def __init__(self, *args: Any, for_users: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.named: set[int] = set()
        if not for_users:
            del self.fields["people"]

    def clean_people(self) -> str:
        text = str(self.cleaned_data["people"])
        self.named = read_users(text, by=self.by)
        return text
