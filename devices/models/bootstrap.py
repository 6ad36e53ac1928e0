"""The bootstrap token that a Mac leaves with us, sealed to the door."""

from django.db import models

from devices.models.device import Device


class BootstrapToken(models.Model):
    """What one enrollment of one device has asked us to keep, to be given back to it alone."""

    device = models.OneToOneField(
        Device, models.PROTECT, primary_key=True, related_name="bootstrap_token"
    )
    key = models.CharField(max_length=16)  # id of the door's key
    box = models.BinaryField()
    received_at = models.DateTimeField()
    given_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"Bootstrap token of {self.device}"

    def __repr__(self) -> str:
        return f"<BootstrapToken of {self.device_id}>"
