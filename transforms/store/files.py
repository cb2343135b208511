"""Replacing an atlas's files, each as a whole, as long as the atlas is the run's."""

from __future__ import annotations

import uuid

from transforms.errors import RunError
from transforms.storage import Storage, join
from transforms.store.lease_file import run_folder, taken_over


def write_through(
    root: str, run: str, path: str, data: bytes | memoryview, storage: Storage
) -> None:
    """Writes a file by the run's own folder, so that a run that was taken over cannot.

    Args:
      root: The atlas.
      run: Whose folder.
      path: The file's place, anywhere in the atlas.
      data: All of it.
      storage: Where the atlas is.

    Raises:
      RunError: The run's folder is gone: another run has taken over.
      OSError: The file cannot be written.
    """
    folder = run_folder(root, run)
    try:
        storage.replace(join(folder, uuid.uuid4().hex), path, data)
    except FileNotFoundError as error:
        raise taken_over(folder) from error


def replace_file(
    root: str, name: str, data: bytes | memoryview, storage: Storage, run: str
) -> None:
    """Replaces one of the files that finish an atlas.

    Args:
      root: The atlas.
      name: The file's name in it, such as `manifest.json`.
      data: All of the file.
      storage: Where the atlas is.
      run: Who writes.

    Raises:
      RunError: It cannot be written, or another run has taken over.
    """
    try:
        write_through(root, run, join(root, name), data, storage)
    except OSError as error:
        raise RunError(f"{join(root, name)} cannot be written ({error})") from error


def discard(root: str, path: str, storage: Storage, run: str) -> None:
    """Deletes a file of an atlas, or a folder with all it holds; absent is no error.

    Args:
      root: The atlas.
      path: What to delete.
      storage: Where the atlas is.
      run: Who deletes.

    Raises:
      RunError: Another run has taken over.
      OSError: It cannot be deleted.
    """
    folder = run_folder(root, run)
    try:
        storage.discard(path, folder)
    except FileNotFoundError as error:
        raise taken_over(folder) from error
