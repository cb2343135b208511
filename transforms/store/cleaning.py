"""Deleting what runs made in an atlas's folder, and nothing else that is there.

A folder may hold more than an atlas. So only what bears the name that a run would give it is
deleted: the files beside the maps, the blocks in shards' folders, and what is temporary.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from transforms.storage import Storage, escape, join
from transforms.store.files import discard
from transforms.store.layout import (
    CLASSES,
    MANIFEST,
    MAPS_FOLDER,
    TABLES,
    TEMPORARY_FOLDER,
    block_number,
)
from transforms.store.lease_file import run_folder

_LOGGER = logging.getLogger(__name__)
_RUN_FOLDER = re.compile(r"(?:\.deleting-)?[0-9a-f]{32}")  # UUIDs name runs
_SHARD_FOLDER = re.compile(r".+-(?:[0-9a-f]{8}|[0-9a-f]{16})", re.DOTALL)


def delete_atlas(root: str, storage: Storage, run: str) -> None:
    """Deletes an atlas and leaves all else in its folder as it is.

    The manifest goes first: what is left of an atlas half deleted is not taken for one.

    Args:
      root: The atlas.
      storage: Where it is.
      run: Who deletes: nothing, once another run has taken over.

    Raises:
      RunError: Another run has taken over.
      OSError: Something cannot be deleted.
    """
    for name in (MANIFEST, *TABLES):
        discard(root, join(root, name), storage, run)
    storage.delete_empty(join(root, CLASSES).rpartition("/")[0])
    folders = set()
    for path in list_blocks_of_any_run(root, storage):
        discard(root, path, storage, run)
        folders.add(path.rpartition("/")[0])
    for folder in sorted(folders):
        storage.delete_empty(folder)
    storage.delete_empty(join(root, MAPS_FOLDER))


def list_blocks_of_any_run(root: str, storage: Storage) -> Iterator[str]:
    """Paths that are blocks by their names, whichever run and input they are of."""
    for entry in storage.match(escape(join(root, MAPS_FOLDER)) + "/*/block-*.parquet"):
        _, folder, name = entry.path.rsplit("/", 2)
        if _SHARD_FOLDER.fullmatch(folder) and block_number(name) is not None:
            yield entry.path


def sweep_temporary(root: str, storage: Storage, run: str) -> None:
    """Deletes what other runs left half-written.

    Args:
      root: The atlas.
      storage: Where it is.
      run: Who sweeps, and keeps its own.

    Raises:
      RunError: Another run has taken over.
    """
    folder = join(root, TEMPORARY_FOLDER)
    try:
        for name in sorted(_temporary_names(folder, storage)):
            if name != run:
                discard(root, join(folder, name), storage, run)
    except OSError as error:  # Rubbish costs space, never correctness: nothing ever reads it.
        _LOGGER.warning("could not sweep temporary files: %s", error)


def delete_run_folder(root: str, run: str, storage: Storage) -> None:
    """Deletes a run's folder of temporary files, so that it can write nothing more.

    Raises:
      OSError: It cannot be deleted.
    """
    storage.delete(run_folder(root, run))
    storage.delete_empty(join(root, TEMPORARY_FOLDER))


def _temporary_names(folder: str, storage: Storage) -> set[str]:
    """The folders of runs that hold anything, if only their mark."""
    below = escape(folder)
    found = set()
    for pattern in (f"{below}/*/*", f"{below}/*/.*", f"{below}/.*/.*"):
        for entry in storage.match(pattern):
            name = entry.path.removeprefix(f"{folder}/").partition("/")[0]
            if _RUN_FOLDER.fullmatch(name):
                found.add(name)
    return found
