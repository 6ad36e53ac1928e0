"""What counts as proof that the device is in hand."""

from enum import StrEnum


class How(StrEnum):
    CODE = "code"
    WITNESS = "witness"
    WORD = "word"
