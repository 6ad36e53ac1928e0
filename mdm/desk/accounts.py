"""Signing in: nobody signs up by themselves, and every sign-in, failed or not, leaves a trace."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from devices import audit
from staff.models import User

SWITCHED_OFF = "This account is switched off. Next: ask an admin to switch it on again."


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Names who was meant only if there is such a person: a password may have been typed there.

        That an account is switched off is told to nobody but whoever knows its password.
        """
        super().authentication_failed(request, **credentials)
        person = User.objects.filter(username=credentials.get("username", "")).first()
        audit.record("staff.sign_in_failed", name=person.username if person else "")
        if (
            person
            and not person.is_active
            and person.check_password(credentials.get("password", ""))
        ):
            raise ValidationError(SWITCHED_OFF)

    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        audit.record("staff.sign_in", actor=user)

    def set_password(self, user: User, password: str) -> None:
        super().set_password(user, password)
        audit.record("staff.password_changed", actor=user)
