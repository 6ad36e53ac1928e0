"""The push certificate, to be read: its topic, its end, and whether it works. Its key is never read here."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from devices.models import Device, PushCertificate
from mdm.desk.alarms import WARN_BEFORE
from passcodes.admin.page import Page


@admin.register(PushCertificate)
class PushCertificateAdmin(Page):
    ordering = ("-is_current", "-added_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PushCertificate]:
        return PushCertificate.objects.defer("sealed_key", "certificate")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        now = timezone.now()
        for certificate in changelist.result_list:
            certificate.stands = _stands(certificate, now)
        return changelist

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        certificate = get_object_or_404(self.get_queryset(request), pk=pk)
        now = timezone.now()
        return self.show(
            request,
            "admin/devices/pushcertificate/change_form.html",
            "Push certificate",
            certificate=certificate,
            stands=_stands(certificate, now),
            days=(certificate.not_after - now).days,
            renew_from=certificate.not_after - WARN_BEFORE,
            enrolled=Device.objects.enrolled().count(),
        )


def _stands(certificate: PushCertificate, now: datetime) -> dict[str, str]:
    """Its badge: style, icon and word."""
    if not certificate.is_current:
        return {"style": "unmeasured", "icon": "info", "word": "Replaced"}
    if certificate.not_after <= now:
        return {"style": "exposed", "icon": "no", "word": "Ended"}
    if certificate.alarm:
        return {"style": "overdue", "icon": "care", "word": "Stands still"}
    if certificate.not_after <= now + WARN_BEFORE:
        return {"style": "grace", "icon": "grace", "word": "Ends soon"}
    return {"style": "compliant", "icon": "check", "word": "Works"}
