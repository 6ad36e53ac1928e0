"""The charter: whom the vault knows, and its rules; and what keepers want to be otherwise in it.

The page shows the copy that the vault gives away, and says so where it is not what the vault has signed.
"""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from mdm.desk.charter_forms import FORMS
from passcodes import acts, chain, passkeys, vault_says
from passcodes.models import Act
from passcodes.rules import acts as act_rules
from passcodes.rules import charter_changes as changes
from passcodes.rules import clearing
from passcodes.rules.acts import Kind, State
from passcodes.rules.charter import Charter
from passcodes.rules.clearing import Reason, Refused
from passcodes.signing import NotSigned
from staff import permissions
from staff.models import SigningKey
from staff.permissions import Forbidden, person

READ, KEEP = "passcodes.view_act", "passcodes.keep_charter"
ENDED_SHOWN = 10
TITLES = {
    "pin": "Pin a passkey",
    "person": "Change what a person may sign",
    "revoke": "Take out a passkey or a person",
    "rule": "Change a rule",
    "list": "Change a list of devices",
    "unlist": "Remove a list of devices",
    "resume": "Let go on what was stopped at the console",
}


def page(request: HttpRequest) -> HttpResponse:
    user = person(request)
    permissions.require(user, READ)
    copy = vault_says.charter_copy(chain.own_keys())
    known = copy.charter
    own = acts.visible(user).filter(kind=Kind.CHARTER)
    context = {
        **admin.site.each_context(request),
        "title": "Charter",
        "copy": copy,
        "charter": known,
        "people": [_of_person(known, one.name) for one in known.people],
        "rules": _rules(known),
        "lists": [
            {
                "name": name,
                "serials": len(one.serials),
                "rule": changes.rule_in_words(one.rule) if one.rule else [],
            }
            for name, one in known.lists
        ],
        "too_few": bool(known.version) and len(changes.keepers(known)) < changes.FEWEST_KEEPERS,
        "unpinned": _unpinned(known),
        "pending": _rows(own.filter(state__in=[state.value for state in act_rules.TO_BE_ENDED])),
        "drafts": _rows(own.filter(state=State.DRAFT.value, asked_by=user)),
        "ended": _rows(
            own.exclude(state__in=[state.value for state in act_rules.OPEN])[:ENDED_SHOWN]
        ),
        "may_keep": user.has_perm(KEEP),
        "stopped": vault_says.alarming().troubles,
    }
    return TemplateResponse(request, "desk/charter.html", context)


def propose(request: HttpRequest, what: str) -> HttpResponse:
    """Say what is to be otherwise; what comes of it is shown before anybody signs."""
    user = person(request)
    permissions.require(user, KEEP)
    if what not in FORMS:
        raise Http404
    known = vault_says.charter()
    data = request.POST if request.method == "POST" else None
    form = FORMS[what](data, charter=known, about=request.GET)
    if request.method == "POST" and form.is_valid():
        try:
            act = acts.change(form.change(), words=form.cleaned_data["words"], by=user)
        except (Refused, Forbidden, NotSigned) as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, "Prepared. Read what changes, then sign it.")
            return redirect("admin:passcodes_act_change", act.pk)
    context = {**admin.site.each_context(request), "title": TITLES[what], "form": form}
    return TemplateResponse(request, "desk/charter_propose.html", context)


def _of_person(known: Charter, name: str) -> dict[str, Any]:
    one = known.person(name)
    assert one is not None
    revoked = set(
        SigningKey.objects.filter(
            fingerprint__in=[key.fingerprint for key in one.keys], revoked_at__isnull=False
        ).values_list("fingerprint", flat=True)
    )
    return {
        "name": name,
        "roles": changes.roles_in_words(one.roles),
        "lists": changes.lists_in_words(one.lists),
        "aliases": ", ".join(sorted(one.aliases)),
        "mail": one.mail,
        "keys": [{"key": key, "is_revoked": key.fingerprint in revoked} for key in one.keys],
    }


def _rules(known: Charter) -> list[dict[str, Any]]:
    """The rule for every clear, and what is stricter for a reason."""
    of_reasons = dict(known.reasons)
    rows = [
        {
            "of": changes.DEFAULT,
            "title": "Every clear",
            "rule": changes.rule_in_words(known.default),
        }
    ]
    for reason in Reason:
        own = of_reasons.get(reason.value)
        rows.append(
            {
                "of": reason.value,
                "title": clearing.REASONS_IN_WORDS[reason],
                "rule": changes.rule_in_words(own) if own else [],
            }
        )
    return rows


def _unpinned(known: Charter) -> list[SigningKey]:
    keys = passkeys.to_be_pinned(known)
    return list(keys.select_related("person").order_by("registered_at"))


def _rows(found: Any) -> list[dict[str, Any]]:
    rows: list[Act] = list(found)
    return [
        {
            "act": act,
            "title": acts.title(act),
            "state_words": act_rules.IN_WORDS[State(act.state)],
            "vault": vault_says.of_request(act.pk),
        }
        for act in rows
    ]
