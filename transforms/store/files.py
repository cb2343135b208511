"""Replacing the files that finish an atlas, each as a whole."""

from __future__ import annotations

import uuid

from transforms.errors import RunError
from transforms.storage import Storage, join
from transforms.store.layout import TEMPORARY_FOLDER


def replace_file(root: str, name: str, data: bytes | memoryview, storage: Storage) -> None:
    """Writes one of an atlas's files under a temporary name, then renames it.

    Args:
      root: The atlas.
      name: The file's name in it, such as `manifest.json`.
      data: All of the file.
      storage: Where the atlas is.

    Raises:
      RunError: It cannot be written.
    """
    temporary = join(root, TEMPORARY_FOLDER, f"{uuid.uuid4().hex}-{name.replace('/', '-')}")
    try:
        storage.replace(temporary, join(root, name), data)
    except OSError as error:
        raise RunError(f"{join(root, name)} cannot be written ({error})") from error
