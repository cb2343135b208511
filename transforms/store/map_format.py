"""What is stored of a map: the columns of the maps table and their types."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import STATISTICS

_CODE_TYPES = {"uint8": pa.uint8(), "float16": pa.float16(), "float32": pa.float32()}


@dataclasses.dataclass(frozen=True)
class MapFormat:
    """What the stored rows look like.

    Attributes:
      map_shape: Shape of one stored map, such as (H, W).
      codec: `uint8`, `float16` or `float32`.
      sketch_shape: Shape of one sketch, such as (28, 28).
      with_boxes: Whether the source has boxes, and so the table box statistics.
      with_predictions: Whether the model returns scores of classes; where it does not, the columns
        `predicted` and `predicted_score` are null.
    """

    map_shape: tuple[int, ...]
    codec: str
    sketch_shape: tuple[int, ...]
    with_boxes: bool
    with_predictions: bool = True

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """The float32 statistics columns."""
        return STATISTICS + (("box_energy",) if self.with_boxes else ())

    @property
    def schema(self) -> pa.Schema:
        """The maps table, one row per example and target."""
        unpredicted = not self.with_predictions
        fields = [
            pa.field("example_id", pa.string(), nullable=False),
            pa.field("shard", pa.string(), nullable=False),
            pa.field("record", pa.int64(), nullable=False),
            pa.field("label", pa.int32()),
            pa.field("target", pa.int32(), nullable=False),
            pa.field("predicted", pa.int32(), nullable=unpredicted),
            pa.field("score", pa.float32(), nullable=False),
            pa.field("predicted_score", pa.float32(), nullable=unpredicted),
            pa.field("map", pa.fixed_shape_tensor(_CODE_TYPES[self.codec], self.map_shape)),
            pa.field("map_scale", pa.float32(), nullable=False),
            pa.field("sketch", pa.fixed_shape_tensor(pa.int32(), self.sketch_shape)),
            *(pa.field(name, pa.float32()) for name in self.statistic_names),
        ]
        if self.with_boxes:
            fields.append(pa.field("pointing_hit", pa.bool_()))
        return pa.schema(fields)

    def table(self, columns: Mapping[str, pa.Array | npt.NDArray[Any]]) -> pa.Table:
        """Makes the maps table.

        Args:
          columns: Arrow arrays, or for the tensors NumPy arrays (rows, *shape).
        """
        schema = self.schema
        return pa.Table.from_arrays(
            [_column(columns[field.name], field.type) for field in schema], schema=schema
        )


def tensor_values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A tensor column as one array (rows, *shape), without copying where it is one chunk."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps no chunk of an empty column
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    flat = array.storage.flatten().to_numpy(zero_copy_only=False)
    values: npt.NDArray[Any] = flat.reshape((len(array), *array.type.shape))
    return values


def codec_of(schema: pa.Schema) -> str:
    """The codec of a maps table, by the type of its codes."""
    value_type = schema.field("map").type.value_type
    return next(name for name, code_type in _CODE_TYPES.items() if code_type == value_type)


def _column(values: pa.Array | npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if not isinstance(kind, pa.FixedShapeTensorType):
        return values if isinstance(values, pa.Array) else pa.array(values, kind)
    array = np.ascontiguousarray(values)
    if array.shape[1:] != tuple(kind.shape):
        raise ValueError(f"expected tensors of {tuple(kind.shape)}, not {array.shape[1:]}")
    flat = pa.array(array.reshape(-1), kind.value_type)
    size = int(np.prod(kind.shape))
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, size))
