"""Files for people and their spreadsheets, which must not take a name for a formula."""

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Echo:
    """A file that hands back what is written: csv wants one."""

    def write(self, line: str) -> str:
        return line


def harmless(value: Any) -> Any:
    """The value as a cell that no spreadsheet runs: an apostrophe before what could be a formula."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return value
