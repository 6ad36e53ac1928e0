"""The way to the signing page and back, and everybody's own signing passkeys."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from passcodes import acts, bulk, clearing, passkeys, signatures, vault_says
from passcodes.models import Act, ClearList, ClearRequest
from passcodes.rules.acts import State as ActState
from passcodes.rules.charter_changes import takes_oneself_out
from passcodes.rules.clearing import Refused, State
from passcodes.signatures import Signed
from passcodes.signing import ASSERTION, REGISTRATION, NotSigned
from staff.models import SigningKey
from staff.permissions import Forbidden, person

About = ClearRequest | ClearList | Act  # what is signed, or denied by a signature
PAGES: dict[type[About], str] = {
    ClearRequest: "admin:passcodes_clearrequest_change",
    ClearList: "admin:passcodes_clearlist_change",
    Act: "admin:passcodes_act_change",
}

LONGEST_HEADER = 3000  # proxies give an answer's headers 4 KB, unless they are told otherwise
SERIAL_END = "witness_serial_end"  # in the session: what a witness has typed before signing
SAID_OF_ACTS = {
    "ask": "Asked for. The vault says here what it waits for.",
    "yes": "Signed. The vault says here what comes of it.",
    "no": "Denied. Nothing has changed.",
}
MINE = "admin:staff_signingkey_changelist"
REVOKED = (
    "Revoked here: the vault accepts nothing that it signs, as long as this row says so. Where the vault "
    "has it in its charter, it stays there until it is taken out by a signature."
)
ON_ITS_WAY_OUT = "Signed. The vault says here when it is out."
KEPT = (
    "Kept. Your passkey counts once the vault has pinned it; "
    "two keepers will ask you to read its fingerprint aloud."
)


class WordsForm(forms.Form):
    words = forms.CharField(
        max_length=500, widget=forms.Textarea(attrs={"rows": 2, "class": "desk-input"})
    )


def lead(request: HttpRequest, about: About, statement: Callable[[], bytes]) -> HttpResponse:
    """On to the signing page; or back to the page of what it is about, with why nothing can be signed.

    What is too long for a header goes by a page with a link.
    """
    try:
        keys = signatures.credentials(person(request))
        raw = statement()
        ask = b"" if _is_draft(about) else signatures.the_ask(about)
    except (Refused, Forbidden) as refused:
        messages.error(request, str(refused))
        return to_page(about)
    place = _address(raw, keys, ask=ask)
    if len(place) <= LONGEST_HEADER:
        return redirect(place)
    context = {**admin.site.each_context(request), "title": "Sign", "place": place}
    return TemplateResponse(request, "admin/staff/signingkey/lead.html", context)


def lead_to_deny(
    request: HttpRequest, about: About, statement: Callable[[str], bytes]
) -> HttpResponse:
    """The same for a denial, which has to say why."""
    form = WordsForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nobody has said why. Next: say why you deny it.")
        return to_page(about)
    words = form.cleaned_data["words"]
    return lead(request, about, lambda: statement(words))


def to_page(about: About) -> HttpResponse:
    return redirect(PAGES[type(about)], about.pk)


def _is_draft(about: About) -> bool:
    """Whether it is still to be asked for; whatever is signed later goes with the ask."""
    match about:
        case ClearList():
            return about.requests.filter(state=State.DRAFT.value).exists()
        case ClearRequest():
            return about.state == State.DRAFT
        case Act():
            return about.state == ActState.DRAFT


def _address(statement: bytes, credentials: list[bytes], *, ask: bytes = b"") -> str:
    """Where it is signed. All it needs stands behind the #, and reaches no server."""
    told = {"s": _text(statement), "k": ",".join(map(_text, credentials))}
    if ask:
        told["c"] = _text(ask)
    return f"{settings.SIGN_URL}/#{urlencode(told)}"


@admin.register(SigningKey)
class SigningKeyAdmin(admin.ModelAdmin):
    """One page: my passkeys. What they are for is signed elsewhere."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and bool(getattr(request.user, "is_staff", False))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.mine), name="staff_signingkey_changelist"),
            path("register/", wrap(self.register), name="signature_register"),
            path("<int:pk>/revoke/", wrap(self.revoke), name="signature_revoke"),
            path("<int:pk>/out/", wrap(self.take_out), name="signature_out"),
            path("signed/", wrap(self.signed), name="signature_signed"),
        ]

    def mine(self, request: HttpRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "My signing passkeys",
            "standings": passkeys.standings(person(request)),
            "sign_url": settings.SIGN_URL,
        }
        return TemplateResponse(request, "admin/staff/signingkey/change_list.html", context)

    @method_decorator(require_POST)
    def register(self, request: HttpRequest) -> HttpResponse:
        try:
            document = passkeys.to_register(person(request))
        except vault_says.Silent as silent:
            messages.error(request, str(silent))
            return redirect(MINE)
        return redirect(f"{settings.SIGN_URL}/#{urlencode({'r': _text(document)})}")

    @method_decorator(require_POST)
    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        try:
            passkeys.revoke(pk, by=person(request))
        except SigningKey.DoesNotExist:
            raise Http404 from None
        messages.success(request, REVOKED)
        return redirect(MINE)

    def take_out(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Read what follows, then sign that one's own passkey is taken out of the vault's charter."""
        found = [
            one
            for one in passkeys.standings(person(request))
            if one.key.pk == pk and one.is_pinned
        ]
        if not found:
            raise Http404
        if request.method == "POST":
            return self._lead_out(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Take out a signing passkey",
            "one": found[0],
            "warnings": passkeys.warnings(found[0].key),
            "words": passkeys.WORDS,
        }
        return TemplateResponse(request, "admin/staff/signingkey/out.html", context)

    def _lead_out(self, request: HttpRequest, pk: int) -> HttpResponse:
        by = person(request)
        try:
            keys = signatures.credentials(by)
            act = passkeys.take_out(pk, words=request.POST.get("words", ""), by=by)
            return redirect(_address(acts.to_ask(act, by=by), keys))
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
            return redirect("admin:signature_out", pk)

    def signed(self, request: HttpRequest) -> HttpResponse:
        """What the signing page leads back to: a script posts what stands behind the #."""
        if request.method != "POST":
            context = {**self.admin_site.each_context(request), "title": "Signed"}
            return TemplateResponse(request, "admin/staff/signingkey/signed.html", context)
        sent = request.POST
        if "r" in sent:
            return self._registered(request)
        try:
            signed = Signed(
                _bytes(sent.get("s", "")), {name: sent.get(name, "") for name in ASSERTION}
            )
            said = signatures.read(signed.statement)
        except Refused as refused:
            messages.error(request, str(refused))
            return redirect("admin:passcodes_clearrequest_changelist")
        request_id = UUID(said["request"])
        if Act.objects.filter(pk=request_id).exists():
            return self._act(request, request_id, said["kind"], signed)
        if ClearList.objects.filter(pk=request_id).exists():
            return self._several(request, request_id, said["kind"], signed)
        try:
            words = self._take_down(request, request_id, said["kind"], signed)
        except ClearRequest.DoesNotExist:
            raise Http404 from None
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, words)
        return redirect("admin:passcodes_clearrequest_change", request_id)

    def _registered(self, request: HttpRequest) -> HttpResponse:
        sent = request.POST
        try:
            passkeys.register(
                _bytes(sent.get("r", "")),
                {name: sent.get(name, "") for name in REGISTRATION},
                by=person(request),
            )
        except (NotSigned, Refused) as refused:
            messages.error(request, f"{refused} Nothing was kept.")
        else:
            messages.success(request, KEPT)
        return redirect(MINE)

    def _act(self, request: HttpRequest, act_id: UUID, kind: str, signed: Signed) -> HttpResponse:
        by = person(request)
        act = Act.objects.get(pk=act_id)
        is_own_passkey = kind == "ask" and takes_oneself_out(act.change, by.get_username())
        try:
            match kind:
                case "ask":
                    acts.ask(act_id, signed=signed, by=by)
                case "yes":
                    acts.agree(act_id, signed=signed, by=by)
                case _:
                    acts.deny(act_id, signed=signed, by=by)
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, ON_ITS_WAY_OUT if is_own_passkey else SAID_OF_ACTS[kind])
        return redirect(*([MINE] if is_own_passkey else ["admin:passcodes_act_change", act_id]))

    def _several(
        self, request: HttpRequest, list_id: UUID, kind: str, signed: Signed
    ) -> HttpResponse:
        """What was signed over a list of devices."""
        by = person(request)
        try:
            match kind:
                case "ask":
                    bulk.request(list_id, signed=signed, by=by)
                    words = "Sent to the approvers. Nothing has reached a device yet."
                case "yes":
                    count = bulk.approve(list_id, signed=signed, by=by)
                    words = f"Signed for {count} devices. The vault opens each for itself."
                case "no":
                    bulk.deny(list_id, signed=signed, by=by)
                    words = "Denied. What is not opened yet stays closed."
                case _:
                    read = request.session.pop(SERIAL_END, {}).get(list_id.hex, "")
                    bulk.witness(list_id, read=read, signed=signed, by=by)
                    words = "Confirmed. An approver other than you can sign now."
        except (Refused, Forbidden) as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, words)
        return redirect("admin:passcodes_clearlist_change", list_id)

    def _take_down(self, request: HttpRequest, request_id: UUID, kind: str, signed: Signed) -> str:
        """Hand it to its process; what is to be said of it."""
        by = person(request)
        match kind:
            case "ask":
                clearing.request(request_id, signed=signed, by=by)
                return "Sent to the approvers. Nothing has reached the device yet."
            case "yes":
                approved = clearing.approve(request_id, signed=signed, by=by)
                until = approved.approvals.order_by("-at").values_list("until", flat=True)[0]
                local = timezone.localtime(until)
                return (
                    f"Signed. The vault opens the token for this one clear, until {local:%H:%M}."
                )
            case "no":
                clearing.deny(request_id, signed=signed, by=by)
                return "Denied. Nothing has reached the device."
            case _:
                typed = request.session.pop(SERIAL_END, {}).get(request_id.hex, "")
                clearing.witness(request_id, serial_end=typed, signed=signed, by=by)
                return "Confirmed. An approver other than you can sign now."


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("What came back from the signing page cannot be read.") from None
