"""The only room that can open a token; installed only where SERVE is «vault»."""

from django.apps import AppConfig


class VaultConfig(AppConfig):
    name = "vault"
