"""What an output path may hold before a run begins, and how an atlas is begun."""

from __future__ import annotations

import errno
import os
from typing import Literal

from pipeline.run.error_messages import unwritable
from pipeline.run.fingerprint import setting_differences, shard_differences
from transforms.errors import ConfigurationError
from transforms.storage import Storage
from transforms.store.blocks import holds_blocks, list_maps_folder, set_aside
from transforms.store.cleaning import delete_atlas, sweep_temporary
from transforms.store.layout import MANIFEST, resembles_block
from transforms.store.manifest import Manifest, read_manifest, write_manifest
from transforms.store.publishing import Publication

Mode = Literal["new", "resume", "extend", "overwrite"]


def check_output(atlas: str) -> None:
    """Refuses a local output path that cannot be written, as far as looking at it tells.

    Args:
      atlas: The output path, absolute.

    Raises:
      ConfigurationError: It is a file or below one, or its folder cannot be made.
      RunError: It is a folder that cannot be written to.
    """
    if "://" in atlas:
        return
    place = atlas
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        where = "it" if place == atlas else place
        raise ConfigurationError(
            f"output.path: {atlas} cannot be a folder, as {where} is a file: give another path"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        is_read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        code = errno.EROFS if is_read_only else errno.EACCES
        raise unwritable(atlas, OSError(code, os.strerror(code), place))


def check_atlas(atlas: str, mode: Mode, storage: Storage) -> Manifest | None:
    """Checks that the output path holds what the mode expects.

    Args:
      atlas: The output path.
      mode: `new` wants nothing there, `resume` and `extend` complete what is there or begin anew.
      storage: Where it is.

    Returns:
      The manifest to go on from; None for a fresh beginning.

    Raises:
      ConfigurationError: Something is there that the mode would spoil.
    """
    if mode == "overwrite":
        return None
    manifest = read_manifest(atlas, storage)
    if manifest is not None:
        if mode == "new":
            raise ConfigurationError(
                f"output.path: {atlas} holds an atlas already ({manifest.status}): complete "
                "it with --resume, add new input files with --extend, make it anew with "
                "--overwrite, or give another path"
            )
        return manifest
    if holds_blocks(atlas, storage):
        raise ConfigurationError(
            f"output.path: {atlas} holds maps but no {MANIFEST}: give another path, or remove "
            "them with --overwrite"
        )
    return None


def begin_atlas(publication: Publication, mode: Mode, storage: Storage) -> None:
    """Begins an atlas whose lease is held: clears or compares it, writes the incomplete manifest.

    Args:
      publication: Of the run that begins.
      mode: What may be found at the output path.
      storage: Where it is.

    Raises:
      ConfigurationError: The atlas there was begun with something else, another run has begun
        one since it was looked for, or the path cannot be made.
      RunError: The path is full or read-only, or another run has taken over.
    """
    atlas, manifest, run = publication.root, publication.manifest, publication.run
    recorded = check_atlas(atlas, mode, storage)
    if recorded is not None:
        _compare(recorded, manifest, mode)
    try:
        if mode == "overwrite":
            delete_atlas(atlas, storage, run)
        sweep_temporary(atlas, storage, run)
        if recorded is not None:
            _set_strangers_aside(publication, storage)
        write_manifest(atlas, manifest, storage, run)
    except OSError as error:
        raise unwritable(atlas, error) from error


def _compare(recorded: Manifest, manifest: Manifest, mode: Mode) -> None:
    differences = [
        *setting_differences(recorded.settings, manifest.settings),
        *shard_differences(recorded.input_files, manifest.input_files, may_grow=mode == "extend"),
    ]
    if differences:
        lines = "".join(f"\n  {difference}" for difference in differences)
        raise ConfigurationError(
            "the atlas was begun with something else, so it cannot be completed "
            f"(give another output.path, or --overwrite):{lines}"
        )


def _set_strangers_aside(publication: Publication, storage: Storage) -> None:
    """Moves files out of the maps folder that would pass for blocks, and are none of this atlas."""
    atlas, shards = publication.root, publication.manifest.input_files
    for path in list_maps_folder(atlas, shards, storage).strangers:
        if resembles_block(path.rpartition("/")[2]):
            why = f"{path} is the block of no input file"
            set_aside(atlas, path, why, storage, publication.run)
