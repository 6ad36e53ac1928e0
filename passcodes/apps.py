"""Policies, the hour, the gate, the escrow and the clear."""

from django.apps import AppConfig


class PasscodesConfig(AppConfig):
    name = "passcodes"
    verbose_name = "Passcodes"
