"""A file that must be what it was when it was listed."""

from __future__ import annotations

import io
from typing import BinaryIO

from transforms.elements import Shard
from transforms.errors import RunError
from transforms.storage import Storage, escape


def check_listed_version(shard: Shard, storage: Storage) -> None:
    """Sees that a file is still the one that was listed, as far as its storage tells.

    Raises:
      RunError: It has been written again.
    """
    if shard.version is None:
        return
    for entry in storage.match(escape(shard.path)):
        if entry.version not in (None, shard.version):
            raise RunError(
                f"{shard.path} changed while it was read: it has been written again since it was "
                "listed; let whatever writes it finish, then run again"
            )


def check_listed_size(file: BinaryIO, shard: Shard) -> None:
    """Sees that an open file still has the size it was listed with; its position stays.

    Raises:
      RunError: It has another.
    """
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    if size != shard.size:
        raise RunError(
            f"{shard.path} changed while it was read: it was listed with {shard.size} bytes and "
            f"has {size} now; let whatever writes it finish, then run again"
        )
