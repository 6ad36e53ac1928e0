"""The page behind an invitation: choose a password, then sign in with it."""

from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache

from staff import invitations


@never_cache
def page(request: HttpRequest, link: str) -> HttpResponse:
    """For whoever holds the link; one that serves no more says so, and not why."""
    person = invitations.invited(link)
    if person is None:
        return TemplateResponse(request, "account/invitation_over.html", status=404)
    form = SetPasswordForm(person, request.POST if request.method == "POST" else None)
    if (
        request.method == "POST"
        and form.is_valid()
        and invitations.accept(link, form.cleaned_data["new_password1"])
    ):
        messages.success(request, "Your password is set. Sign in with it.")
        return redirect("account_login")
    return TemplateResponse(request, "account/invited.html", {"form": form, "person": person})
