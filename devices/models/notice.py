"""Notices that bring people to a page, where they go, and who wants no mail."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models.device import Device
from devices.rules.notices import (
    CHANNELS_IN_WORDS,
    KINDS_IN_WORDS,
    LONGEST_TITLE,
    Channel,
    Kind,
    State,
)

UNDONE = [State.FAILED.value, State.WAITING.value]


class NoticeQuerySet(models.QuerySet["Notice"]):
    def due(self) -> "NoticeQuerySet":
        """What is to be tried now, the longest waiting first; nothing that has run out meanwhile."""
        now = timezone.now()
        due = self.filter(state=State.WAITING.value, next_try_at__lte=now)
        return due.filter(Q(until=None) | Q(until__gt=now)).order_by("next_try_at")

    def in_trouble(self) -> "NoticeQuerySet":
        """What has not arrived although it was tried: given up, or about to be tried again."""
        return self.filter(state__in=UNDONE).exclude(trouble="")


class Notice(models.Model):
    """One message to one person or one place. Made with what it tells of, and sent by the worker.

    It never holds a secret, nor the address of a place: that is the worker's alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(
        max_length=16, choices=[(kind.value, kind.name.capitalize()) for kind in Kind]
    )
    about = models.UUIDField(null=True)  # a request, a list of them, an act
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="+")
    channel = models.CharField(
        max_length=16, choices=[(one.value, one.name.capitalize()) for one in Channel]
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )  # whose mail it is
    place = models.CharField(max_length=40, blank=True)  # the name of a webhook
    once = models.CharField(max_length=120, unique=True)  # what must not be told twice
    title = models.CharField(max_length=LONGEST_TITLE)
    lines = models.JSONField(default=list)
    link = models.CharField(max_length=200)  # a path of the staff site
    until = models.DateTimeField(null=True)  # afterwards it is worth nothing
    made_at = models.DateTimeField(default=timezone.now)

    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.name.capitalize()) for state in State],
        default=State.WAITING.value,
    )
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, default=timezone.now)
    trouble = models.CharField(max_length=200, blank=True)  # why the last try came to nothing
    sent_at = models.DateTimeField(null=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        ordering = ("-made_at",)
        default_permissions = ("view", "change")
        constraints = (
            models.CheckConstraint(
                condition=Q(person=None) ^ Q(place=""),
                name="a_notice_goes_to_a_person_or_a_place",
            ),
        )
        indexes = (
            models.Index(
                fields=("next_try_at",),
                condition=Q(state__in=UNDONE),
                name="devices_notices_undone",
            ),
            models.Index(fields=("about",), name="devices_notices_about"),
            models.Index(fields=("-made_at",), name="devices_notices_newest"),
        )

    def __str__(self) -> str:
        return self.title

    @property
    def what(self) -> str:
        return KINDS_IN_WORDS[Kind(self.kind)]

    @property
    def way(self) -> str:
        return CHANNELS_IN_WORDS[Channel(self.channel)]

    @property
    def is_undone(self) -> bool:
        return self.state in UNDONE


class NoticePlace(models.Model):
    """Where the worker says that it can send to. The address stays with it; here stands its host."""

    name = models.CharField(max_length=40, primary_key=True)
    channel = models.CharField(
        max_length=16, choices=[(one.value, one.name.capitalize()) for one in Channel]
    )
    host = models.CharField(max_length=253)
    told_at = models.DateTimeField(default=timezone.now)
    trouble = models.CharField(max_length=200, blank=True)  # why nothing gets through, or ""
    trouble_since = models.DateTimeField(null=True)

    class Meta:
        ordering = ("name",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name}, {self.host}"

    @property
    def way(self) -> str:
        return CHANNELS_IN_WORDS[Channel(self.channel)]


class NoMail(models.Model):
    """A person who wants no mail. Without a row: mail."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+"
    )
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"No mail to {self.person}"
