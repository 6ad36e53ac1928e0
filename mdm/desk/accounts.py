"""Signing in: nobody signs up by themselves, and a failed sign-in leaves a trace."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest

from devices import audit

NAME_SHOWN = 64  # characters of what was typed as a name


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Only the name is kept; people sometimes type a password there, so only what exists is named."""
        super().authentication_failed(request, **credentials)
        audit.record(
            "staff.sign_in_failed", name=str(credentials.get("username", ""))[:NAME_SHOWN]
        )

    def login(self, request: HttpRequest, user: AbstractUser) -> None:
        super().login(request, user)
        audit.record("staff.sign_in", actor=user)
