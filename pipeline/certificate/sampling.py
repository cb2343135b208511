"""The examples that a certificate is of: the same ones whenever it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import Examples, Shard
from transforms.errors import ConfigurationError
from transforms.formats.reader import probe
from transforms.formats.source import InputSpec, SourceSpec
from transforms.storage import Storage


def sample_examples(
    shards: Sequence[Shard],
    source: SourceSpec,
    inputs: InputSpec,
    storage: Storage,
    count: int,
) -> Examples | None:
    """Examples from the beginnings of the input files, the same ones whenever it is called.

    As many of each file as it takes for them all to be represented; the files go by the hash of
    their names. A file that cannot be read gives none: that is a matter of failures.

    Args:
      shards: The input files.
      source: What is in them.
      inputs: What the model takes.
      storage: Where they are.
      count: How many examples are wanted.

    Returns:
      At most `count`, numbered from 0; None where there are none.
    """
    ordered = sorted(shards, key=_order)
    of_each = -(-count // max(1, len(ordered)))
    found: list[Examples] = []
    missing = count
    for shard in ordered:
        if missing <= 0:
            break
        try:
            examples = probe(shard, source, inputs, storage, of_each)[:missing]
        except ConfigurationError:
            continue  # None of its first records makes an example; the run says so by itself.
        found.append(examples)
        missing -= len(examples)
    return _together([each for each in found if len(each)])


def _order(shard: Shard) -> tuple[bytes, str]:
    """By the file's name, so that the same files in another place give the same examples."""
    return hashlib.sha256(shard.name.encode()).digest(), shard.path


def _together(parts: Sequence[Examples]) -> Examples | None:
    """Examples of several files as those of one."""
    if not parts:
        return None
    inputs: tuple[bytes, ...] | npt.NDArray[Any]
    if isinstance(parts[0].inputs, np.ndarray):
        inputs = np.concatenate([part.inputs for part in parts])
    else:
        inputs = _joined(part.inputs for part in parts)
    ids = _joined(part.ids for part in parts)
    return Examples(
        records=np.arange(len(ids), dtype=np.int64),
        ids=ids,
        inputs=inputs,
        labels=np.concatenate([part.labels for part in parts]),
        boxes=None if parts[0].boxes is None else _joined(part.boxes for part in parts),
        slices={name: _joined(part.slices[name] for part in parts) for name in parts[0].slices},
        masks=None if parts[0].masks is None else _joined(part.masks for part in parts),
        beside={name: _joined(part.beside[name] for part in parts) for name in parts[0].beside},
    )


def _joined(columns: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value for column in columns for value in column)
