"""Serialized tf.train.Example -> columns, in batches in TensorFlow.

A feature may be stored as bytes, floats or integers. Which one is learnt from each batch's own
records, so that a batch reads the same whatever was read before it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from transforms.errors import DataFault
from transforms.formats.columns import Column, Records
from transforms.formats.features import Features, describe

if TYPE_CHECKING:
    from tensorflow.core.example import example_pb2

_Kinds = dict[str, str]
"""Feature name -> the kind of its list, as tf.train.Feature names it."""

_KIND_NAMES = {"bytes_list": "bytes", "float_list": "floats", "int64_list": "integers"}


def parse_examples(
    payloads: Sequence[bytes],
    features: Features,
    first: int = 0,
    check: Callable[[int], None] = lambda _: None,
    bytes_at_once: int = 1 << 25,
) -> Records:
    """Parses a batch; a record that cannot be parsed costs one fault, not the batch.

    Args:
      payloads: Serialized tf.train.Example, the records in order.
      features: Which features are read.
      first: Number of the first record.
      check: Called with the bytes that the features take as they grow: integers are up to eight
        times as long as in a record.
      bytes_at_once: TensorFlow copies what it parses, twice; it is given no more than so many
        bytes, or one record.

    Returns:
      The records; faults (stage `parse`) are `NotAnExample` and, where a feature's kind differs
      from most of the batch's records, `WrongFeatureKind`.
    """
    return _Batch(payloads, features, check, bytes_at_once).parse(first)


class _Batch:
    def __init__(
        self,
        payloads: Sequence[bytes],
        features: Features,
        check: Callable[[int], None],
        bytes_at_once: int,
    ) -> None:
        self._payloads = payloads
        self._ends = np.cumsum([0, *map(len, payloads)])
        self._check = check
        self._bytes_at_once = bytes_at_once
        self._roles = features.named()

    def parse(self, first: int) -> Records:
        faults: dict[int, DataFault] = {}
        kinds = self._first_kinds()
        parsed = self._parse(0, len(self._payloads), kinds)
        if parsed is None:
            kinds = self._usual_kinds()
            parsed = self._parse_around_faults(0, len(self._payloads), kinds, faults)
        return Records(
            first=first,
            count=len(self._payloads),
            columns={role: parsed[name] for role, name in self._roles.items()},
            faults=faults,
            available=self._feature_names,
        )

    def _parse(self, start: int, stop: int, kinds: _Kinds) -> dict[str, Column] | None:
        """Columns of the payloads from start to stop; None where TensorFlow refuses any."""
        if stop - start > 1 and self._ends[stop] - self._ends[start] > self._bytes_at_once:
            middle = (start + stop) // 2
            left = self._parse(start, middle, kinds)
            right = None if left is None else self._parse(middle, stop, kinds)
            columns = None if left is None or right is None else _concatenated(left, right)
        else:
            columns = self._parse_at_once(start, stop, kinds)
        if columns is not None:
            self._check(sum(column.bytes for column in columns.values()))
        return columns

    def _parse_at_once(self, start: int, stop: int, kinds: _Kinds) -> dict[str, Column] | None:
        import tensorflow as tf

        types = {"bytes_list": tf.string, "float_list": tf.float32, "int64_list": tf.int64}
        specification = {name: tf.io.RaggedFeature(types[kind]) for name, kind in kinds.items()}
        if not specification:  # no record has any of the features, but each is still checked
            specification = {"": tf.io.RaggedFeature(tf.string)}
        columns = dict.fromkeys(self._roles.values(), Column.empty(stop - start))
        try:
            with tf.device("/CPU:0"):
                parsed = tf.io.parse_example(
                    tf.constant(self._payloads[start:stop], tf.string), specification
                )
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
            return None  # the latter where the refused bytes, quoted in the message, are no text
        for name in kinds:
            values = parsed[name].flat_values.numpy()
            columns[name] = Column(values, parsed[name].row_splits.numpy().astype(np.int64))
        return columns

    def _parse_around_faults(
        self, start: int, stop: int, kinds: _Kinds, faults: dict[int, DataFault]
    ) -> dict[str, Column]:
        """Columns of the payloads, halving what is refused until a fault stands alone."""
        parsed = self._parse(start, stop, kinds)
        if parsed is not None:
            return parsed
        if stop - start == 1:
            faults[start] = self._fault(self._payloads[start], kinds)
            return dict.fromkeys(self._roles.values(), Column.empty(1))
        middle = (start + stop) // 2
        left = self._parse_around_faults(start, middle, kinds, faults)
        right = self._parse_around_faults(middle, stop, kinds, faults)
        return _concatenated(left, right)

    def _first_kinds(self) -> _Kinds:
        """Each feature's kind in the first record that has it."""
        kinds: _Kinds = {}
        missing = set(self._roles.values())
        for payload in self._payloads:
            found = _kinds(payload, missing)
            kinds.update(found)
            missing.difference_update(found)
            if not missing:
                break
        return kinds

    def _usual_kinds(self) -> _Kinds:
        """Each feature's most frequent kind; of equally frequent ones, the first met."""
        names = set(self._roles.values())
        counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for payload in self._payloads:
            for name, kind in _kinds(payload, names).items():
                counts[name][kind] += 1
        return {name: count.most_common(1)[0][0] for name, count in counts.items()}

    def _fault(self, payload: bytes, kinds: _Kinds) -> DataFault:
        found = _kinds(payload, set(kinds))
        for role, name in self._roles.items():
            if name in found and found[name] != kinds[name]:
                return DataFault(
                    "parse",
                    "WrongFeatureKind",
                    f"{describe(role, name)} holds {_KIND_NAMES[found[name]]} where "
                    f"other records hold {_KIND_NAMES[kinds[name]]}",
                )
        return DataFault(
            "parse", "NotAnExample", f"the {len(payload)} bytes are not a tf.train.Example"
        )

    def _feature_names(self, row: int) -> Sequence[str]:
        example = _decode(self._payloads[row])
        return sorted(example.features.feature) if example is not None else []


def _concatenated(left: dict[str, Column], right: dict[str, Column]) -> dict[str, Column]:
    return {name: Column.concatenate([left[name], right[name]]) for name in left}


def _decode(payload: bytes) -> example_pb2.Example | None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        return example_pb2.Example.FromString(payload)
    except DecodeError:
        return None


def _kinds(payload: bytes, names: set[str]) -> _Kinds:
    """Kinds of the named features that the payload has; none where it is no example."""
    example = _decode(payload)
    if example is None:
        return {}
    stored = example.features.feature
    kinds = {name: stored[name].WhichOneof("kind") for name in names if name in stored}
    return {name: kind for name, kind in kinds.items() if kind is not None}
