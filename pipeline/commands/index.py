"""Makes index files beside TFRecord files."""

from __future__ import annotations

from typing import Any

from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.formats.tfrecord.index import index_path, without_indexes, write_index
from transforms.storage import Storage


def index(pattern: str, storage: Storage) -> dict[str, Any]:
    """Indexes the files that a glob matches.

    Args:
      pattern: The glob; indexes that it matches too are passed over.
      storage: Where they are.

    Returns:
      How many files and records, and the indexes' paths.

    Raises:
      ConfigurationError: No file, or something that is none, is compressed or damaged.
    """
    found = {entry.path: entry.size for entry in storage.match_inputs(storage.absolute(pattern))}
    paths = without_indexes(sorted(found))
    if not paths:
        raise ConfigurationError(
            f"no file matches {pattern!r}; give a glob that matches TFRecord files"
        )
    records = 0
    for path in paths:
        records += write_index(Shard(path, found[path]), storage)
    return {
        "files": len(paths),
        "records": records,
        "indexes": [index_path(path) for path in paths],
    }
