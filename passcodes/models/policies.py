"""A passcode policy, and its versions. A published version never changes."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from devices.models import Profile


class Policy(models.Model):
    """A named set of passcode requirements, which grows by versions."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    identifier = models.CharField(max_length=200, unique=True)  # PayloadIdentifier on devices
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    """What a policy demands, numbered; a draft until it is published, and then for ever as it is."""

    policy = models.ForeignKey(Policy, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    requirements = models.JSONField(default=dict)  # passcodes/rules/requirements.py checks it
    note = models.TextField("what changes, and why", blank=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    made_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    profile = models.ForeignKey(Profile, models.PROTECT, null=True)  # made when it is published

    class Meta:
        verbose_name = "policy version"
        ordering = ("policy", "-number")
        permissions = (
            ("publish_policyversion", "Can publish a policy version"),
            ("push_policyversion", "Can push a policy version to devices, and stop or remove it"),
        )
        constraints = (
            models.UniqueConstraint(fields=("policy", "number"), name="one_version_a_number"),
            models.UniqueConstraint(
                fields=("policy",),
                condition=Q(published_at=None),
                name="one_draft_a_policy",
            ),
        )

    def __str__(self) -> str:
        return f"{self.policy}, version {self.number}"

    @property
    def is_published(self) -> bool:
        return self.published_at is not None
