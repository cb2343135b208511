"""Where everything in an atlas is: the names of its files and folders, each written once."""

from __future__ import annotations

import re

from transforms.elements import Shard
from transforms.storage import join

MANIFEST = "manifest.json"
CLASSES = "statistics/classes.parquet"
FAILURES = "failures.parquet"
MAPS_FOLDER = "maps"


TEMPORARY_FOLDER = ".temporary"


FORMAT_VERSION = 1


_BLOCK_NAME = re.compile(r"block-(\d{5,})\.parquet")


def block_path(root: str, shard: Shard, number: int) -> str:
    """The one place where a block's file may be."""
    return join(root, MAPS_FOLDER, shard.folder, f"block-{number:05d}.parquet")


def block_number(name: str) -> int | None:
    """The number of the block whose file has this name; None where it is no block's.

    >>> block_number("block-00007.parquet"), block_number("notes.txt")
    (7, None)
    """
    found = _BLOCK_NAME.fullmatch(name)
    return None if found is None else int(found.group(1))
