"""Checksums of columns: equal for equal columns, to notice that an input has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import google_crc32c


def columns_digest(head: bytes, columns: Iterable[Sequence[bytes]]) -> str:
    """CRC-32C of some bytes and all values of columns, in 8 hex digits.

    >>> columns_digest(b"", [[b"ab"]]) == columns_digest(b"", [[b"a", b"b"]])
    False
    """
    crc = google_crc32c.value(head)
    for values in columns:
        for value in values:  # each with its length, so that no two columns look alike
            crc = google_crc32c.extend(crc, len(value).to_bytes(8, "little"))
            crc = google_crc32c.extend(crc, value)
    return f"{crc:08x}"


def text_column(values: Iterable[str]) -> list[bytes]:
    """Text, as it is digested."""
    return [value.encode(errors="surrogatepass") for value in values]


def optional_column(name: str, values: Iterable[str | None]) -> list[bytes]:
    """A column's name and its text; no value is another one than an empty one."""
    return text_column([name, *("" if value is None else f"={value}" for value in values)])
