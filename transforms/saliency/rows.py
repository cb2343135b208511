"""The maps table of a block, from the results of its mini-batches.

Arrow's columns are made once per block: making a table for each mini-batch of 8, and joining them,
costs 0.2 ms per map, as much as storing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.elements import NO_LABEL, Examples
from transforms.saliency.attribution import Results
from transforms.statistics.maps import gini_from_codes
from transforms.store.map_format import THUMBNAIL, MapFormat

_PREDICTIONS = ("predicted", "predicted_score")


class BlockRows:
    """Collects rows, mini-batch after mini-batch.

    Args:
      map_format: What is stored.
      shard: The input file's name.
    """

    def __init__(self, map_format: MapFormat, shard: str) -> None:
        self._format = map_format
        self._shard = shard
        self._ids: list[str] = []
        self._thumbnails: list[bytes] = []
        self._parts: dict[str, list[npt.NDArray[Any]]] = {}
        named = ("target", "score", "map", "map_scale", "sketch", *map_format.statistic_names)
        boxed = ("pointing_hit",) if map_format.with_boxes else ()
        self._of_maps = tuple(name for name in (*named, *boxed) if name != "gini")

    def add(
        self,
        batch: Examples,
        results: Results,
        kept: Sequence[int],
        thumbnails: Sequence[bytes] | None = None,
    ) -> None:
        """Adds the rows of a mini-batch, examples in order, each with its targets in order.

        Args:
          batch: The examples.
          results: As `Program.run` returns them.
          kept: Which of the examples, ascending.
          thumbnails: Of all the examples; None where none are stored.
        """
        rows: Any = np.asarray(kept)
        if len(kept) == len(batch):
            rows = slice(None)  # A view, no copy.
        targets = results["target"].shape[1]
        self._ids += [batch.ids[row] for row in kept for _ in range(targets)]
        if thumbnails is not None:
            self._thumbnails += [thumbnails[row] for row in kept for _ in range(targets)]
        for name in self._of_maps:
            self._append(name, _by_row(results[name][rows]))
        self._append("gini", gini_from_codes(_by_row(results["level"][rows])))
        of_examples: dict[str, npt.NDArray[Any]] = {"record": batch.records, "label": batch.labels}
        if self._format.with_predictions:
            of_examples |= {name: results[name] for name in _PREDICTIONS}
        for name, values in of_examples.items():
            self._append(name, np.repeat(values[rows], targets, axis=0))

    def table(self) -> pa.Table:
        """The table of all rows added; call it once."""
        if not self._ids:
            return self._format.schema.empty_table()
        # Popped one by one: no more than one column is held twice at a time.
        arrays = {name: np.concatenate(self._parts.pop(name)) for name in list(self._parts)}
        statistics = {
            name: pa.array(arrays[name], pa.float32(), from_pandas=True)  # NaN becomes null
            for name in self._format.statistic_names
        }
        label = arrays["label"]
        rows = len(self._ids)
        columns = {
            **arrays,
            **statistics,
            "example_id": pa.array(self._ids),
            "shard": pa.array([self._shard] * rows, pa.string()),
            "label": pa.array(label, pa.int32(), mask=label == NO_LABEL),
        }
        if not self._format.with_predictions:
            schema = self._format.schema
            columns |= {name: pa.nulls(rows, schema.field(name).type) for name in _PREDICTIONS}
        if self._format.thumbnail_shape is not None:
            columns[THUMBNAIL] = pa.array(self._thumbnails, pa.binary())
        if self._format.with_boxes:
            hits = arrays["pointing_hit"]
            columns["pointing_hit"] = pa.array(hits == 1, pa.bool_(), mask=np.isnan(hits))
        return self._format.table(columns)

    def _append(self, name: str, values: npt.NDArray[Any]) -> None:
        self._parts.setdefault(name, []).append(values)


def _by_row(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, K, ...) -> (N * K, ...)."""
    by_row: npt.NDArray[Any] = values.reshape((-1, *values.shape[2:]))
    return by_row
