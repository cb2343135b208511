"""What is stored of a map: the columns of the maps table and their types."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import (
    INPUT_PROPERTIES,
    INPUT_SIZES,
    POSITIVE_SHARE,
    SHARES,
    statistic_names,
)
from transforms.statistics.groups.sums import AtlasSums
from transforms.statistics.peak_windows import PEAK_WINDOW, WINDOW_BYTES, WINDOW_CELLS

MAP = "map"
"""The column of the maps' codes: bytes, whose field says in its metadata what they are."""

THUMBNAIL = "thumbnail"
"""The column of small JPEGs of the inputs; each row of an example has the same.

A repeated one takes a few bytes more, as compression finds it, and whoever selects rows by their
target has the picture in each of them.
"""

PICTURES = (MAP, THUMBNAIL)
"""Columns that statistics need not, and that are too large to travel with the others."""


_WINDOW_FIELD = pa.field(
    PEAK_WINDOW,
    pa.binary(WINDOW_BYTES),  # Not a tensor: readers of Parquet refuse a tensor that is null.
    metadata={"shape": json.dumps([WINDOW_CELLS] * 2), "dtype": json.dumps("int16")},
)


@dataclasses.dataclass(frozen=True)
class MapFormat:
    """What the stored rows look like.

    Attributes:
      map_shape: Shape of one stored map, such as (H, W).
      codec: `uint8`, `int8`, `float16` or `float32`.
      sketch_shape: Shape of one sketch, such as (28, 28).
      with_boxes: Whether the source has boxes, and so the table box statistics.
      with_predictions: Whether the model returns scores of classes; where it does not, the columns
        `predicted` and `predicted_score` are null.
      thumbnail_shape: Height and width of thumbnails; None where none are stored.
      slices: Features by which statistics are split, each a column of strings.
      measures: Names of float32 columns that the method adds, after the statistics.
      with_windows: Whether the surroundings of each map's peak are stored.
      with_masks: Whether the source has masks, and so the table statistics of them.
      regions: Name of each region that the user named -> its share of the area of the model's
        input, the energy that an even map has there.
      features: Names of a table's features, in the order of a map's values; none of other inputs.
      with_properties: Whether inputs are images, whose size and properties are stored.
    """

    map_shape: tuple[int, ...]
    codec: str
    sketch_shape: tuple[int, ...]
    with_boxes: bool
    with_predictions: bool = True
    thumbnail_shape: tuple[int, int] | None = None
    slices: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    with_windows: bool = False
    with_masks: bool = False
    regions: Mapping[str, float] = dataclasses.field(default_factory=dict)
    features: tuple[str, ...] = ()
    with_properties: bool = False

    def no_sums(self) -> AtlasSums:
        """What the statistics of rows are added to."""
        properties = INPUT_PROPERTIES + INPUT_SIZES if self.with_properties else ()
        names = statistic_names(self.with_boxes, self.with_masks, self.regions, signed=self.signed)
        return AtlasSums(self.sketch_shape, names + properties, self.slices)

    @property
    def signed(self) -> bool:
        """Whether maps have a sign."""
        return POSITIVE_SHARE in self.measures

    @property
    def _statistics(self) -> tuple[str, ...]:
        return statistic_names(self.with_boxes, self.with_masks, self.regions)

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """The float32 statistics columns."""
        return tuple(name for name in self._statistics if name not in SHARES)

    @property
    def shares(self) -> tuple[str, ...]:
        """The statistics columns of booleans."""
        return tuple(name for name in self._statistics if name in SHARES)

    @property
    def map_field(self) -> pa.Field:
        """The column of codes.

        Bytes, not a tensor: Parquet stores a tensor's elements as 32-bit integers with a level
        each, which takes six to nine times as long. Each value of the metadata is JSON:

            np.frombuffer(row["map"], dtype).reshape(shape)

        Of a table, `features` names the values.
        """
        dtype = np.dtype(self.codec)
        described: dict[str, Any] = {
            "shape": list(self.map_shape),
            "dtype": dtype.name,
            "codec": self.codec,
        }
        if self.features:
            described["features"] = list(self.features)
        size = dtype.itemsize * math.prod(self.map_shape)
        metadata = {name: json.dumps(value) for name, value in described.items()}
        return pa.field(MAP, pa.binary(size), metadata=metadata)

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
            self.map_field,
            pa.field("map_scale", pa.float32(), nullable=False),
            pa.field("sketch", pa.fixed_shape_tensor(pa.int32(), self.sketch_shape)),
            *(pa.field(name, pa.float32()) for name in (*self.statistic_names, *self.measures)),
        ]
        fields += [pa.field(name, pa.bool_()) for name in self.shares]
        if self.thumbnail_shape is not None:
            fields.append(pa.field(THUMBNAIL, pa.binary(), nullable=False))
        if self.with_windows:
            fields.append(_WINDOW_FIELD)
        if self.with_properties:
            fields += [pa.field(name, pa.int32(), nullable=False) for name in INPUT_SIZES]
            fields += [pa.field(name, pa.float32()) for name in INPUT_PROPERTIES]
        fields += [pa.field(name, pa.string()) for name in self.slices]
        return pa.schema(fields)

    def table(self, columns: Mapping[str, Any]) -> pa.Table:
        """Makes the maps table.

        Args:
          columns: Arrow arrays, or for codes and tensors NumPy arrays (rows, *shape). Of codes a
            list of several, too: each becomes a chunk, none is copied.
        """
        schema = self.schema
        maps = columns[MAP]
        parts = [maps] if isinstance(maps, np.ndarray) else maps
        arrays = [
            pa.chunked_array(map(self._codes, parts), field.type)
            if field.name == MAP
            else _column(columns[field.name], field)
            for field in schema
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _codes(self, codes: npt.NDArray[Any]) -> pa.FixedSizeBinaryArray:
        array = np.ascontiguousarray(codes, np.dtype(self.codec))
        if array.shape[1:] != self.map_shape:
            raise ValueError(f"expected maps of {self.map_shape}, not {array.shape[1:]}")
        kind = self.map_field.type
        return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(array)])


def map_codes(maps: pa.Table | pa.RecordBatch) -> npt.NDArray[Any]:
    """The codes of all rows, (rows, *map_shape), without copying where they are one chunk."""
    field, column = maps.schema.field(MAP), _one_chunk(maps.column(MAP))
    shape = json.loads(field.metadata[b"shape"])
    dtype = np.dtype(json.loads(field.metadata[b"dtype"]))
    size = field.type.byte_width
    _, data = column.buffers()
    flat = np.frombuffer(data, np.uint8, len(column) * size, column.offset * size)
    codes: npt.NDArray[Any] = flat.view(dtype).reshape((len(column), *shape))
    return codes


def tensor_values(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """A tensor column as one array (rows, *shape), without copying where it is one chunk."""
    array = _one_chunk(column)
    flat = array.storage.flatten().to_numpy(zero_copy_only=False)
    values: npt.NDArray[Any] = flat.reshape((len(array), *array.type.shape))
    return values


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps no chunk of an empty column
        return array.chunk(0) if array.num_chunks else pa.array([], column.type)
    return array


def _column(values: pa.Array | npt.NDArray[Any], field: pa.Field) -> pa.Array:
    kind = field.type
    if not isinstance(kind, pa.FixedShapeTensorType):
        return values if isinstance(values, pa.Array) else pa.array(values, kind)
    array = np.ascontiguousarray(values)
    if array.shape[1:] != tuple(kind.shape):
        raise ValueError(f"expected tensors of {tuple(kind.shape)}, not {array.shape[1:]}")
    flat = pa.array(array.reshape(-1), kind.value_type)
    size = math.prod(kind.shape)
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, size))
