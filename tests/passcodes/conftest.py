"""Every test here may ask for the house."""

from tests.house import house

__all__ = ["house"]
