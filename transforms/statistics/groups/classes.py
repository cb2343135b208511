"""The table of classes, and the columns that every table of groups has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.statistics.columns import SHARES, UNBOUNDED
from transforms.statistics.groups.accumulator import GroupRow, quantile_columns
from transforms.statistics.groups.histograms import BINS

EDGES_KEY = "edges"
"""In the metadata of a histogram's field: its edges are `np.linspace(*range, count)`, as JSON."""

_EDGES = {"count": BINS + 1, "range": [0.0, 1.0]}
_HISTOGRAM = "_histogram"


def classes_schema(sketch_shape: Sequence[int], names: Sequence[str]) -> pa.Schema:
    """Schema of `statistics/classes.parquet`.

    Args:
      sketch_shape: Shape of mean_map and std_map.
      names: The statistics.
    """
    columns: dict[str, pa.DataType] = {
        "class": pa.int32(),
        "class_name": pa.string(),
        "n": pa.int64(),
        "n_correct": pa.int64(),
        "undefined_maps": pa.int64(),
    }
    for name in names:
        columns[f"{name}_mean"] = pa.float64()
        if name not in SHARES:
            numbers = () if name in UNBOUNDED else quantile_columns(name)
            columns |= dict.fromkeys((f"{name}_std", *numbers, f"{name}_skewness"), pa.float64())
        if name not in SHARES | UNBOUNDED:
            columns[name + _HISTOGRAM] = pa.list_(pa.int64())
    columns |= dict.fromkeys(("score_mean", "score_std", "score_skewness"), pa.float64())
    tensor = pa.fixed_shape_tensor(pa.float32(), tuple(sketch_shape))
    columns |= dict.fromkeys(("mean_map", "std_map"), tensor)
    required = ("class", "n", "undefined_maps")
    edges = {EDGES_KEY: json.dumps(_EDGES)}
    return pa.schema(
        [
            pa.field(name, kind, name not in required, edges if name.endswith(_HISTOGRAM) else None)
            for name, kind in columns.items()
        ]
    )


def classes_table(
    rows: Iterable[tuple[int, GroupRow]],
    sketch_shape: Sequence[int],
    names: Sequence[str],
    class_names: Sequence[str] = (),
) -> pa.Table:
    """The table of all classes, ascending by class.

    Args:
      rows: (class, its `GroupAccumulator.finish()`), in any order.
      sketch_shape: Shape of mean_map and std_map.
      names: The statistics.
      class_names: Names of classes in index order; a class beyond them has no name.
    """
    ordered = sorted(rows, key=lambda row: row[0])
    schema = classes_schema(sketch_shape, names)
    return pa.Table.from_arrays(group_arrays(ordered, schema, class_names), schema=schema)


def group_arrays(
    rows: Sequence[tuple[int, GroupRow]], schema: pa.Schema, class_names: Sequence[str]
) -> list[pa.Array]:
    """The columns of `classes_schema` for some groups, in their order.

    Args:
      rows: (class, its statistics).
      schema: The classes' schema.
      class_names: Names of classes in index order.
    """
    names = [class_names[number] if number < len(class_names) else None for number, _ in rows]
    arrays = [pa.array([number for number, _ in rows], pa.int32()), pa.array(names, pa.string())]
    for field in list(schema)[len(arrays) :]:
        values = [row[field.name] for _, row in rows]
        if isinstance(field.type, pa.FixedShapeTensorType):
            arrays.append(tensor_array(values, field.type))
        elif field.name.endswith(_HISTOGRAM):
            arrays.append(_lists(values, field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return arrays


def tensor_array(
    maps: Sequence[npt.NDArray[Any]], kind: pa.FixedShapeTensorType
) -> pa.ExtensionArray:
    """Arrays of one shape as a column of tensors."""
    # Arrow's own way from a type to NumPy's needs pandas.
    dtype = pa.array([], kind.value_type).to_numpy().dtype
    values = np.array(maps, dtype).reshape(-1)
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values), type=kind.storage_type)
    return pa.ExtensionArray.from_storage(kind, storage)


def _lists(counts: Sequence[npt.NDArray[np.int64]], kind: pa.ListType) -> pa.ListArray:
    flat = np.concatenate([np.zeros(0, np.int64), *counts])
    offsets = np.arange(len(counts) + 1, dtype=np.int32) * BINS
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=kind)
