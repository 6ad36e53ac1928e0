"""Write a file, all of it: a disk that is nearly full takes a part, and says so only when asked again."""

import os


def write(file: int, data: bytes) -> None:
    """Every byte; OSError where the disk does not take the rest."""
    while data:
        data = data[os.write(file, data) :]
