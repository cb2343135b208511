"""What a run reads beside examples: the input files there are, the names of the classes."""

from __future__ import annotations

from pipeline.config.keys import Config
from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.formats.tfrecord.index import without_indexes
from transforms.storage import Storage


def list_shards(config: Config, storage: Storage) -> tuple[Shard, ...]:
    """The input files, sorted and each once; their indexes are not among them.

    Raises:
      ConfigurationError: A pattern that no file matches.
    """
    found: dict[str, int] = {}
    for pattern in config.source.patterns:
        entries = storage.match(storage.absolute(pattern))
        if not entries:
            raise ConfigurationError(
                f"source.pattern: no file matches {pattern!r} "
                f"({storage.absolute(pattern)}); give a glob that matches the input files"
            )
        found.update((entry.path, entry.size) for entry in entries)
    return tuple(Shard(path, found[path]) for path in without_indexes(sorted(found)))


def class_names_of(config: Config, storage: Storage) -> tuple[str, ...]:
    """The lines of the file `source.classes`; none where it is not given.

    Raises:
      ConfigurationError: A file that is not one name a line.
    """
    path = config.source.classes
    if path is None:
        return ()
    try:
        with storage.open(storage.absolute(path)) as stream:
            names = stream.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"source.classes: {path} cannot be read as a text file ({error}); "
            "give a file with a class name a line"
        ) from error
    stripped = tuple(name.strip() for name in names)
    repeated = sorted({name for name in stripped if stripped.count(name) > 1})
    if not stripped or repeated:
        what = f"holds {repeated[0]!r} more than once" if repeated else "is empty"
        raise ConfigurationError(
            f"source.classes: {path} {what}; give a file with a class name a line, each once"
        )
    return stripped
