"""What an atlas gives of an example: its map, and its row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.notebook import map_picture
from transforms.codec import decode
from transforms.store.map_format import MAP, PICTURES, THUMBNAIL, map_codes

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

    def _repr_png_(self) -> bytes:
        """The map, in a notebook."""
        return map_picture(self.values)


@dataclasses.dataclass(frozen=True)
class ExplainedExample:
    """One row of the maps table with its map.

    Attributes:
      row: Its columns by name, but for pictures.
      values: The map: (H, W), (H, W, C), (T, W) or (W,) float32, the gradient's own units.
      thumbnail: A small JPEG of the input; None where the atlas has none.

    >>> (found,) = Atlas.open("atlases/train").examples(order_by="corner_energy", limit=1)
    >>> found.row["example_id"], found.values.shape
    ('0/1', (12, 12))
    """

    row: Mapping[str, Any]
    values: npt.NDArray[np.float32]
    thumbnail: bytes | None = None

    def _repr_png_(self) -> bytes:
        """The input, the map over it, and the map, in a notebook."""
        return map_picture(self.values, self.thumbnail)

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
        pictures = [name for name in PICTURES if name in dataset.schema.names]
        rows = dataset.to_table([*names, *pictures], filter=where)
        (batch,) = rows.combine_chunks().to_batches()
        (values,) = decode(map_codes(batch), batch.column("map_scale").to_numpy())
        (row,) = rows.select(names).to_pylist()
        thumbnail = rows[THUMBNAIL][0].as_py() if THUMBNAIL in pictures else None
        return cls(row, values, thumbnail)


class MeanMap(np.ndarray[tuple[int, ...], np.dtype[np.float32]]):
    """An array that a notebook shows as a picture; what is calculated from it is a plain one."""

    def _repr_png_(self) -> bytes:
        """The map, in a notebook."""
        return map_picture(np.asarray(self))

    def __array_wrap__(
        self, array: npt.NDArray[Any], context: object = None, return_scalar: bool = False
    ) -> Any:
        """Gives what NumPy calculates as it is: a difference of two maps is no map."""
        del context
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


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


def find_mean_map(groups: pa.Table, target: int | str) -> MeanMap:
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
    found = rows["mean_map"].combine_chunks().to_numpy_ndarray()[0].view(MeanMap)
    return cast("MeanMap", found)
