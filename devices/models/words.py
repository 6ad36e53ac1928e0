"""What people call a device by, in capitals, beside its row: the database looks for a part of it there."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Func

from devices.models.device import Device

GRAM = 3  # characters; a shorter word has no gram, and every text is read for it


class Grams(Func):
    """All runs of three characters in a text; the function is the database's own (migration 0014)."""

    function = "devices_grams"
    output_field = ArrayField(models.TextField())


class DeviceWords(models.Model):
    """Kept by a trigger, in a table of its own: the device's row is written at each contact and stays small."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="words")
    text = models.TextField()  # a line for each thing it is called by
    grams = ArrayField(models.TextField())

    class Meta:
        default_permissions = ()
        indexes = (GinIndex(fields=("grams",), name="devices_by_gram", fastupdate=False),)

    def __str__(self) -> str:
        return self.text
