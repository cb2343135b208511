"""Where everything in an atlas is: the names of its files and folders, each written once."""

from __future__ import annotations

import re

from transforms.elements import Shard
from transforms.storage import join

MANIFEST = "manifest.json"
CLASSES = "statistics/classes.parquet"
SLICES = "statistics/slices.parquet"
FOLDS = "statistics/folds.parquet"
CONFUSION = "statistics/confusion.parquet"
FAILURES = "failures.parquet"
TABLES = (CLASSES, SLICES, FOLDS, CONFUSION, FAILURES)
"""All that is written beside the maps, before the manifest."""

MAPS_FOLDER = "maps"
SET_ASIDE_FOLDER = ".set-aside"
TEMPORARY_FOLDER = ".temporary"

FORMAT_VERSION = 2
"""Of an atlas; what older and newer formats have is in the changelog."""

_BLOCK_NAME = re.compile(r"block-(\d{5,})\.parquet")


def block_path(root: str, shard: Shard, number: int) -> str:
    """The one place where a block's file may be."""
    return join(root, MAPS_FOLDER, shard.folder, block_name(number))


def block_number(name: str) -> int | None:
    """The number of the block whose file has this name; None where it is no block's.

    A block has one name only: a number with more zeros than it needs is not it.

    >>> block_number("block-00007.parquet"), block_number("block-000007.parquet")
    (7, None)
    """
    found = _BLOCK_NAME.fullmatch(name)
    number = None if found is None else int(found.group(1))
    return number if number is not None and name == block_name(number) else None


def resembles_block(name: str) -> bool:
    """Whether a file would pass for a block's by its name, if not for the one that it has.

    >>> resembles_block("block-000007.parquet"), resembles_block("berlin.geojson")
    (True, False)
    """
    return _BLOCK_NAME.fullmatch(name) is not None


def block_name(number: int) -> str:
    """The name of a block's file in its shard's folder.

    >>> block_name(7)
    'block-00007.parquet'
    """
    return f"block-{number:05d}.parquet"
