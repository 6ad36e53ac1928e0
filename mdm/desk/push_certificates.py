"""The push certificate: how it stands, how one is asked for, and how it is loaded.

A key is made, or comes in, only to be sealed to the process that pushes. No page can read one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from devices import push_certificates
from devices.models import Device, PushCertificate, PushCertificateRequest
from devices.rules.push_certificates import WARN_BEFORE
from passcodes.admin.page import Deed, Page, attempt, posted
from staff import permissions
from staff.permissions import person

LARGEST = 64 * 1024  # bytes of a file; a certificate is a few thousand
RIGHT = push_certificates.PERMISSION


class LoadForm(forms.Form):
    """A certificate for a request of ours; with its key in a second file; or both in a PKCS#12."""

    certificate = forms.FileField(
        help_text="What Apple gave, as PEM; or a PKCS#12 file (.p12) with its key inside."
    )
    key = forms.FileField(
        label="Its key",
        required=False,
        help_text=(
            "As PEM, without a password. Leave it empty where the signing request was made here, "
            "or where the key is inside the PKCS#12 file."
        ),
    )
    password = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"class": "desk-input", "autocomplete": "off"}),
        help_text="Of the PKCS#12 file.",
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        for name in ("certificate", "key"):
            file = data.get(name)
            if file and file.size > LARGEST:
                self.add_error(name, "The file is too large for a certificate or a key.")
        return data

    def deed(self, by: Any) -> Callable[[], PushCertificate]:
        """What the files ask for."""
        certificate = _bytes(self.cleaned_data["certificate"])
        key = self.cleaned_data["key"]
        password = self.cleaned_data["password"]
        if key:
            pem = _bytes(key)
            return lambda: push_certificates.load(certificate, pem, by=by)
        if password or not _is_certificate(certificate):
            return lambda: push_certificates.load_pkcs12(certificate, password, by=by)
        return lambda: push_certificates.load_for_request(certificate, by=by)


class VendorForm(forms.Form):
    signature = forms.CharField(
        label="Its signature",
        widget=forms.Textarea(attrs={"rows": 4, "class": "desk-input mono"}),
        help_text="Base64: SHA-256 with RSA over the DER form of the request.",
    )
    chain = forms.CharField(
        label="Its certificates",
        widget=forms.Textarea(attrs={"rows": 6, "class": "desk-input mono"}),
        help_text="PEM, the vendor’s first, then Apple’s intermediate and root.",
    )


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

    def deeds(self) -> list[Deed]:
        return [
            ("add/", self.load, "devices_pushcertificate_add"),
            ("request/", self.ask, "pushcertificate_request"),
            ("request/<int:pk>/", self.asked, "pushcertificate_asked"),
            ("request/<int:pk>/csr/", self.csr, "pushcertificate_csr"),
        ]

    @method_decorator(sensitive_post_parameters("password"))
    def load(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        permissions.require(user, RIGHT)
        form = LoadForm(posted(request), request.FILES or None)
        if request.method == "POST" and form.is_valid():
            loaded = attempt(request, form.deed(user), push_certificates.Refused)
            if loaded:
                messages.success(request, "Loaded. Pushes go out with it from now on.")
                return redirect("admin:devices_pushcertificate_change", loaded.pk)
        return self.show(
            request,
            "admin/devices/pushcertificate/load.html",
            "Load a push certificate",
            form=form,
            current=PushCertificate.objects.filter(is_current=True).first(),
        )

    def ask(self, request: HttpRequest) -> HttpResponse:
        """The key is made here, in this process, and sealed before the answer."""
        user = person(request)
        permissions.require(user, RIGHT)
        if request.method == "POST":
            made = attempt(
                request, lambda: push_certificates.request(by=user), push_certificates.Refused
            )
            if made:
                return redirect("admin:pushcertificate_asked", made.pk)
        return self.show(
            request,
            "admin/devices/pushcertificate/request.html",
            "Make a signing request",
            requests=PushCertificateRequest.objects.select_related("made_by")[:10],
            current=PushCertificate.objects.filter(is_current=True).first(),
        )

    def asked(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The request, what it still needs, and the form that Apple's portal takes."""
        made = self._request(request, pk)
        form = VendorForm(posted(request))
        if request.method == "POST" and form.is_valid():
            said = form.cleaned_data
            packed = attempt(
                request,
                lambda: push_certificates.for_apple(
                    made, signature=said["signature"], chain=said["chain"].encode()
                ),
                push_certificates.Refused,
            )
            if packed:
                return _download(packed, f"for-apple-{made.pk}.plist.b64")
        return self.show(
            request,
            "admin/devices/pushcertificate/asked.html",
            str(made),
            made=made,
            form=form,
        )

    def csr(self, request: HttpRequest, pk: int) -> HttpResponse:
        made = self._request(request, pk)
        return _download(made.request.encode(), f"push-{made.pk}.csr")

    def _request(self, request: HttpRequest, pk: int) -> PushCertificateRequest:
        permissions.require(person(request), RIGHT)
        rows = PushCertificateRequest.objects.defer("sealed_key").select_related("made_by")
        return get_object_or_404(rows, pk=pk)


def _bytes(file: UploadedFile) -> bytes:
    return bytes(file.read())


def _is_certificate(data: bytes) -> bool:
    return b"-----BEGIN CERTIFICATE" in data


def _download(data: bytes, name: str) -> HttpResponse:
    response = HttpResponse(data, content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


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
