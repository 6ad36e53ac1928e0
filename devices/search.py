"""Finding devices by any part of what people call them by: serial, name, user, UDID, asset tag."""

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Upper

from devices.models import Device, DeviceWords
from devices.models.words import GRAM, Grams


def called(devices: QuerySet[Device], words: str) -> QuerySet[Device]:
    """Those that hold each of the words, in whatever case, or are somebody's who does."""
    for word in words.split():
        texts = DeviceWords.objects.filter(text__contains=Upper(Value(word)))
        if len(word) >= GRAM:  # reads only the texts that may hold it
            texts = texts.filter(grams__contains=Grams(Value(word)))
        people = get_user_model().objects.filter(username__icontains=word)
        owners = list(people.values_list("pk", flat=True))
        found = Q(pk__in=texts.values("pk"))
        devices = devices.filter(found | Q(assigned_to__in=owners) if owners else found)
    return devices
