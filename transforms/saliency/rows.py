"""The maps table of a block, from the results of its mini-batches; what is told of the others.

Arrow's columns are made once per block: making a table for each mini-batch of 8, and joining them,
costs 0.2 ms per map, as much as storing it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.elements import NO_LABEL, Block, Examples, Failure, ImageWarning
from transforms.errors import DataFault
from transforms.saliency.attribution import Results
from transforms.statistics.columns import INPUT_PROPERTIES
from transforms.statistics.maps import gini_from_codes
from transforms.statistics.peak_windows import PEAK_WINDOW, peak_windows, windows_column
from transforms.store.map_format import MAP, THUMBNAIL, MapFormat

_PREDICTIONS = ("predicted", "predicted_score")


@dataclasses.dataclass(frozen=True)
class RowsOfBatch:
    """The rows of a mini-batch, examples in order, each with its targets in order.

    Attributes:
      ids: Of each row's example.
      thumbnails: Of the same; empty where none are stored.
      columns: By name, one value per row.
    """

    ids: Sequence[str]
    thumbnails: Sequence[bytes]
    columns: Mapping[str, npt.NDArray[Any]]


class BlockRows:
    """Makes rows of mini-batches, and collects them in the order in which they are added.

    `rows_of` may be called by several threads at once.

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
        named = ("target", "score", MAP, "map_scale", "sketch", *_float_names(map_format))
        named += map_format.shares
        self._properties = INPUT_PROPERTIES if map_format.with_properties else ()
        self._of_maps = tuple(name for name in named if name != "gini")

    def rows_of(
        self,
        batch: Examples,
        results: Results,
        kept: Sequence[int],
        thumbnails: Sequence[bytes] | None = None,
        properties: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> RowsOfBatch:
        """Makes the rows of a mini-batch, their Gini indices among them.

        Args:
          batch: The examples.
          results: As `Program.run` returns them.
          kept: Which of the examples, ascending.
          thumbnails: Of all the examples; None where none are stored.
          properties: Sizes and properties of all the inputs, by name; None where none are stored.
        """
        rows: Any = np.asarray(kept)
        if len(kept) == len(batch):
            rows = slice(None)  # A view, no copy.
        targets = results["target"].shape[1]
        columns = {name: _by_row(results[name][rows]) for name in self._of_maps}
        levels = _by_row(results["level"][rows])
        columns["gini"] = gini_from_codes(levels)
        if self._format.with_windows:
            columns[PEAK_WINDOW] = peak_windows(levels)
        of_examples: dict[str, npt.NDArray[Any]] = {"record": batch.records, "label": batch.labels}
        of_examples |= properties or {}
        if self._format.with_predictions:
            of_examples |= {name: results[name] for name in _PREDICTIONS}
        for name, values in of_examples.items():
            columns[name] = np.repeat(values[rows], targets, axis=0)
        of_rows = [row for row in kept for _ in range(targets)]
        for name in self._format.slices:
            columns[name] = np.array([batch.slices[name][row] for row in of_rows], object)
        return RowsOfBatch(
            ids=[batch.ids[row] for row in of_rows],
            thumbnails=[] if thumbnails is None else [thumbnails[row] for row in of_rows],
            columns=columns,
        )

    def add(self, rows: RowsOfBatch) -> None:
        """Adds the rows of the next mini-batch."""
        self._ids += rows.ids
        self._thumbnails += rows.thumbnails
        for name, values in rows.columns.items():
            self._parts.setdefault(name, []).append(values)

    def table(self) -> pa.Table:
        """The table of all rows added, its maps in as many chunks as mini-batches; call it once."""
        if not self._ids:
            return self._format.schema.empty_table()
        # Maps stay in the parts that they came in: a copy of a block's takes fresh memory for it.
        maps = self._parts.pop(MAP)
        arrays = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        statistics = {
            name: pa.array(arrays[name], pa.float32(), from_pandas=True)  # NaN becomes null
            for name in (*_float_names(self._format), *self._properties)
        }
        label = arrays["label"]
        rows = len(self._ids)
        columns = {
            **arrays,
            **statistics,
            MAP: maps,
            "example_id": pa.array(self._ids),
            "shard": pa.array([self._shard] * rows, pa.string()),
            "label": pa.array(label, pa.int32(), mask=label == NO_LABEL),
        }
        columns |= {name: pa.array(arrays[name], pa.string()) for name in self._format.slices}
        if not self._format.with_predictions:
            schema = self._format.schema
            columns |= {name: pa.nulls(rows, schema.field(name).type) for name in _PREDICTIONS}
        if self._format.with_windows:
            columns[PEAK_WINDOW] = windows_column(arrays[PEAK_WINDOW])
        if self._format.thumbnail_shape is not None:
            columns[THUMBNAIL] = pa.array(self._thumbnails, pa.binary())
        for name in self._format.shares:
            hits = arrays[name]
            columns[name] = pa.array(hits == 1, pa.bool_(), mask=np.isnan(hits))
        return self._format.table(columns)


def _float_names(map_format: MapFormat) -> tuple[str, ...]:
    return *map_format.statistic_names, *map_format.measures


def _by_row(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, K, ...) -> (N * K, ...)."""
    by_row: npt.NDArray[Any] = values.reshape((-1, *values.shape[2:]))
    return by_row


def failures_of(
    block: Block, batch: Examples, faults: Sequence[DataFault | None]
) -> Iterator[Failure]:
    """The failures of a mini-batch of a block: its examples that have a fault."""
    for row, fault in enumerate(faults):
        if fault is not None:
            yield Failure(
                shard=block.key.shard.name,
                record=int(batch.records[row]),
                example_id=batch.ids[row],
                stage=fault.stage,
                error=fault.error,
                message=str(fault),
            )


def warnings_of(
    batch: Examples, warnings: Sequence[str | None], faults: Sequence[DataFault | None]
) -> Iterator[ImageWarning]:
    """The warnings of a mini-batch: of its examples that have no fault."""
    for row, (warning, fault) in enumerate(zip(warnings, faults, strict=True)):
        if warning is not None and fault is None:
            yield ImageWarning(int(batch.records[row]), warning)
