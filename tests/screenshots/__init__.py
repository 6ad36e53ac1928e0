"""Pictures of the desk, made from the demo. Django knows the settings of tests, whose table of pages is read."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
