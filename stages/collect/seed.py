"""Seeds of what is drawn for a graph."""

import zlib


def seed_of(text: str) -> int:
    """The same seed for the same name in every run and on every machine."""
    return zlib.crc32(text.encode())
