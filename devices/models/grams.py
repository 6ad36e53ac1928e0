"""Runs of three characters: by them the database finds the few rows that may hold a part of a word."""

from django.contrib.postgres.fields import ArrayField
from django.db.models import Func, TextField

LENGTH = 3  # a shorter word has none, and every row is read for it


class Grams(Func):
    """All that the given texts hold, in capitals; the function is the database's own (migration 0014)."""

    function = "devices_grams"
    output_field = ArrayField(TextField())
