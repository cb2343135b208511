"""Text from data, made fit for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    r"""Text without anything that a terminal obeys; line ends stay.

    Ids, labels and file names come from data, and may hold escape sequences, marks that turn the
    direction of writing, or bytes that were no text.

    >>> plain("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\n"
        else letter.encode("ascii", "backslashreplace").decode()
        if ord(letter) > _LAST_CONTROL
        else f"\\x{ord(letter):02x}"
        for letter in text
    )


_LAST_CONTROL = 0x7F  # of ASCII
