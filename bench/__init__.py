"""Figures of how quick and how firm the house is. Django knows the tests' settings before anything is measured."""

import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
