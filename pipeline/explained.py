"""What an atlas gives of an example: its map, and its row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from transforms.codec import decode
from transforms.store.map_format import MAP, PICTURES, map_codes

_BATCH_ROWS = 64  # Maps decoded at a time: 64 of 224 x 224 in float32 are 13 MB.


@dataclasses.dataclass(frozen=True)
class ExplainedMap:
    """One map with its identity.

    Attributes:
      example_id: The example.
      target: The class explained.
      values: (H, W), (H, W, C), (T, W) or (W,) float32, in the method's own units, with its sign.

    >>> found = next(Atlas.open("atlases/train").maps())
    >>> found.example_id, found.values.shape
    ('0/0', (12, 12))
    """

    example_id: str
    target: int
    values: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ExplainedExample:
    """One row of the maps table with its map.

    Attributes:
      row: Its columns by name, but for pictures.
      values: The map: (H, W), (H, W, C), (T, W) or (W,) float32, the gradient's own units.

    >>> (found,) = Atlas.open("atlases/train").examples(order_by="corner_energy", limit=1)
    >>> found.row["example_id"], found.values.shape
    ('0/1', (12, 12))
    """

    row: Mapping[str, Any]
    values: npt.NDArray[np.float32]

    @classmethod
    def read(cls, dataset: ds.Dataset, record: int, target: int) -> ExplainedExample:
        """One row of a block.

        Args:
          dataset: The block.
          record: The example's number in its input file.
          target: Which of its maps, by the class explained.
        """
        names = [name for name in dataset.schema.names if name not in PICTURES]
        where = (pc.field("record") == record) & (pc.field("target") == target)
        rows = dataset.to_table([*names, MAP], filter=where)
        (batch,) = rows.combine_chunks().to_batches()
        (values,) = decode(map_codes(batch), batch.column("map_scale").to_numpy())
        (row,) = rows.select(names).to_pylist()
        return cls(row, values)


def read_maps(dataset: ds.Dataset, where: pc.Expression | None) -> Iterator[ExplainedMap]:
    """Maps of some blocks in order, a few in memory at a time.

    Args:
      dataset: The blocks.
      where: Which rows.
    """
    scanner = dataset.scanner(
        columns=["example_id", "target", MAP, "map_scale"],
        filter=where,
        batch_size=_BATCH_ROWS,
        # Read-ahead would decode whole files of maps beside the one that is wanted.
        batch_readahead=1,
        fragment_readahead=1,
    )
    for batch in scanner.to_batches():
        if not batch.num_rows:
            continue
        codes = map_codes(batch)
        scales = batch.column("map_scale").to_numpy()
        ids = batch.column("example_id").to_pylist()
        targets = batch.column("target").to_pylist()
        for example_id, target, values in zip(ids, targets, decode(codes, scales), strict=True):
            yield ExplainedMap(example_id, target, values)


def find_mean_map(groups: pa.Table, target: int | str) -> npt.NDArray[np.float32]:
    """The mean map of a class.

    Args:
      groups: Rows with `class`, `class_name` and `mean_map`, one per class.
      target: The class's number or its name.

    Raises:
      KeyError: It has no row.
    """
    key = "class" if isinstance(target, int) else "class_name"
    rows = groups.filter(pc.field(key) == target)
    if not rows.num_rows:
        raise KeyError(target)
    found: npt.NDArray[np.float32] = rows["mean_map"].combine_chunks().to_numpy_ndarray()[0]
    return found
