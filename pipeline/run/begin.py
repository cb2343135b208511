"""What an output path may hold before a run begins, and how an atlas is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pipeline.run.error_messages import unwritable
from transforms.errors import ConfigurationError
from transforms.storage import Storage, join
from transforms.store.blocks import list_all_blocks, sweep_temporary
from transforms.store.layout import CLASSES, FAILURES, MANIFEST, MAPS_FOLDER
from transforms.store.manifest import read_manifest, write_manifest

Mode = Literal["new", "resume", "extend", "overwrite"]


def check_atlas(
    atlas: str, mode: Mode, manifest: Mapping[str, Any] | None, storage: Storage
) -> dict[str, Any]:
    """Checks that the output path holds what the mode expects.

    Args:
      atlas: The output path.
      mode: `new` wants nothing there, `resume` and `extend` complete what is there or begin anew.
      manifest: What is there, or None.
      storage: Where it is.

    Returns:
      The manifest to go on from; empty for a fresh beginning.

    Raises:
      ConfigurationError: Something is there that the mode would spoil.
    """
    if mode == "overwrite":
        return {}
    if manifest is not None:
        if mode == "new":
            raise ConfigurationError(
                f"output.path: {atlas} holds an atlas already ({manifest.get('status')}): complete "
                "it with --resume, add new input files with --extend, make it anew with "
                "--overwrite, or give another path"
            )
        return dict(manifest)
    if list_all_blocks(atlas, storage):
        raise ConfigurationError(
            f"output.path: {atlas} holds maps but no {MANIFEST}: give another path, or remove "
            "them with --overwrite"
        )
    return {}


def begin_atlas(atlas: str, mode: Mode, manifest: Mapping[str, Any], storage: Storage) -> None:
    """Begins an atlas whose lease is held: clears or compares it, writes the incomplete manifest.

    Raises:
      ConfigurationError: The atlas there was begun with something else, another run has begun
        one since it was looked for, or the path cannot be made.
      RunError: The path is full or read-only.
    """
    recorded = check_atlas(atlas, mode, read_manifest(atlas, storage), storage)
    if recorded:
        _compare(recorded, manifest, mode)
    try:
        if mode == "overwrite":
            for name in (MANIFEST, CLASSES, FAILURES, MAPS_FOLDER):
                storage.delete(join(atlas, name))
        sweep_temporary(atlas, storage)
        write_manifest(atlas, manifest, storage)
    except OSError as error:
        raise unwritable(atlas, error) from error


def _compare(recorded: Mapping[str, Any], manifest: Mapping[str, Any], mode: Mode) -> None:
    differences = list(setting_differences(recorded["settings"], manifest["settings"]))
    differences += shard_differences(recorded["shards"], manifest["shards"], mode)
    if differences:
        raise ConfigurationError(
            "the atlas was begun with something else, so it cannot be completed "
            "(give another output.path, or --overwrite):\n" + "\n".join(differences)
        )


def setting_differences(recorded: Any, current: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each setting in which an atlas and a run differ."""
    if isinstance(recorded, Mapping) and isinstance(current, Mapping):
        for key in sorted({*recorded, *current}):
            yield from setting_differences(recorded.get(key), current.get(key), (*path, key))
    elif recorded != current:
        yield f"  {'.'.join(path)}: the atlas has {recorded!r}, this run {current!r}"


def shard_differences(
    recorded: list[dict[str, Any]], current: list[dict[str, Any]], mode: Mode
) -> Iterator[str]:
    """A line for each input file in which an atlas and a run differ."""
    before = {shard["path"]: shard["size"] for shard in recorded}
    now = {shard["path"]: shard["size"] for shard in current}
    for path in sorted({*before, *now}):
        if path not in now:
            yield f"  input file {path}: the atlas has it, this run does not"
        elif path not in before:
            if mode != "extend":
                yield f"  input file {path}: new to the atlas; take it in with --extend"
        elif before[path] != now[path]:
            yield f"  input file {path}: it had {before[path]} bytes, now {now[path]}"
