"""What a device has told of itself, the newest answer for each subject; and answers to an expert."""

from django.conf import settings
from django.db import models

from devices.models.command import Command
from devices.models.device import Device
from devices.models.user import DeviceUser


class Subject(models.TextChoices):
    """Each is answered by one request."""

    INFORMATION = "information", "DeviceInformation"
    PROFILES = "profiles", "ProfileList"
    RESTRICTIONS = "restrictions", "Restrictions"


class Answer(models.Model):
    """What was told when it was asked for."""

    enrollment = models.UUIDField()  # what an earlier enrollment told counts no more
    subject = models.CharField(max_length=16, choices=Subject.choices)
    asked_at = models.DateTimeField()
    heard_at = models.DateTimeField()
    facts = models.JSONField()

    class Meta:
        abstract = True


class Told(Answer):
    """The newest answer of a device to one of our standing questions."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="told")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("device", "subject"), name="one_newest_answer_a_device_and_subject"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_subject_display()} of {self.device}"


class UserTold(Answer):
    """The same from the channel of a user: it speaks of what is theirs, never of the device."""

    user = models.ForeignKey(DeviceUser, models.PROTECT, related_name="told")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("user", "subject"), name="one_newest_answer_a_user_and_subject"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_subject_display()} of {self.user}"


class CustomCommand(models.Model):
    """Beside a command that an expert wrote: who did, what is sealed for it, and what came back."""

    command = models.OneToOneField(
        Command, models.PROTECT, primary_key=True, related_name="custom"
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    key = models.CharField(max_length=16, blank=True)  # id of the door's key
    box = models.BinaryField(null=True)  # a PIN or a password, until the device has answered
    answer = models.JSONField(null=True)  # bounded, secrets left out

    def __str__(self) -> str:
        return str(self.command)

    def __repr__(self) -> str:
        return f"<CustomCommand {self.command_id}>"
