"""What a device says of Lost Mode, and where it was when it was last asked."""

from django.db import models

from devices.models import Device


class LostMode(models.Model):
    """The device's own word, beside the mark that people make."""

    device = models.OneToOneField(
        Device, models.PROTECT, primary_key=True, related_name="lost_mode"
    )
    is_on = models.BooleanField(null=True)  # None: it has not said
    asked_at = models.DateTimeField(null=True)  # when the question went out that it answered
    heard_at = models.DateTimeField(null=True)
    because = models.CharField(max_length=300, blank=True)  # why it could not do as it was told

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Lost Mode of {self.device}"


class Place(models.Model):
    """The last place of a lost device; forgotten when it is found, or after a time."""

    device = models.OneToOneField(Device, models.PROTECT, primary_key=True, related_name="place")
    latitude = models.FloatField()
    longitude = models.FloatField()
    accuracy = models.FloatField(null=True)  # metres; None: it did not say
    was_there_at = models.DateTimeField(null=True)  # the device's clock
    heard_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Place of {self.device}"

    def __repr__(self) -> str:
        return f"<Place of {self.device_id}>"
