"""Writes atlases of fake examples, in the real files and columns: C classes of N maps, with slices.

Statistics and sketches are drawn; tables are made of them by NumPy in the simplest way, apart from
the exact sums that a run makes them by. A test may change rows before they are written:

    rows = fake_rows(classes=10, n=100)
    rows["corner_energy"][rows["target"] == 3] += 0.4
    write_atlas(tmp_path / "atlas", rows)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.elements import Shard
from transforms.statistics.columns import STATISTICS, UNIFORM_SHARES
from transforms.store.layout import CLASSES, FAILURES, FOLDS, FORMAT_VERSION, MANIFEST, SLICES
from transforms.store.manifest import encode_manifest, sealed
from transforms.store.tables import FAILURES_SCHEMA, encode_table

Rows = dict[str, npt.NDArray[Any]]
"""Columns of the maps table; `sketch` is (N, cells) mass that sums to 1."""

GRID = (4, 4)
SLICES_OF_ROWS = ("camera",)
BINS = 256
FOLD_COUNT = 16
_SCORE = "score"
_UNIT = 1 << 24
_PERCENTS = (5, 25, 50, 75, 95)


def fake_rows(
    classes: int, n: int, cameras: Sequence[str | None] = ("A", "B"), seed: int = 0
) -> Rows:
    """Rows of so many classes with n examples each, all of them labelled.

    Args:
      classes: How many.
      n: Examples of each.
      cameras: The values of the slice `camera`, dealt in turn.
      seed: Of what is drawn.
    """
    random = np.random.default_rng(seed)
    count = classes * n
    target = np.repeat(np.arange(classes, dtype=np.int32), n)
    number = np.tile(np.arange(n), classes)
    right = random.random(count) < 0.9
    rows: Rows = {
        "example_id": np.array(
            [f"{a}-{b:04d}" for a, b in zip(target, number, strict=True)], object
        ),
        "record": np.arange(count, dtype=np.int64),
        "label": target,
        "target": target,
        "predicted": np.where(right, target, (target + 1) % max(classes, 2)).astype(np.int32),
        _SCORE: random.normal(size=count).astype(np.float32),
        "camera": np.array([cameras[each % len(cameras)] for each in number], object),
    }
    for name in STATISTICS:
        mean = UNIFORM_SHARES.get(name, 0.3)
        rows[name] = random.beta(4, 4 * (1 - mean) / mean, count).astype(np.float32)
    rows["sketch"] = random.dirichlet(np.ones(GRID[0] * GRID[1]), count)
    return rows


def write_atlas(
    root: Path,
    rows: Rows,
    *,
    class_names: Sequence[str] | None = None,
    shards: int = 2,
    data: str = "/data",
    config: dict[str, Any] | None = None,
    **manifest: Any,
) -> str:
    """Writes an atlas of rows, and returns its path.

    Args:
      root: The folder to make.
      rows: Such as `fake_rows` makes.
      class_names: By class; `class 0` and so on unless given.
      shards: Over how many input files the rows are dealt.
      data: The folder that the input files are said to be in.
      config: Of the run.
      manifest: Other values than a complete run's.
    """
    numbers = np.unique(rows["target"]).tolist()
    names = class_names or [f"class {number}" for number in range(max(numbers, default=-1) + 1)]
    files = [Shard(f"{data}/part-{number}.tfrecord", 100 + number) for number in range(shards)]
    for number, shard in enumerate(files):
        part = {name: column[number::shards] for name, column in rows.items()}
        folder = root / "maps" / shard.folder
        folder.mkdir(parents=True)
        pq.write_table(_maps_table(part, shard.name), folder / "block-00000.parquet")
    whole = [(None, None, number, rows["target"] == number) for number in numbers]
    parts = [
        (name, value, number, (rows[name] == value) & (rows["target"] == number))
        for name in SLICES_OF_ROWS
        for number in numbers
        for value in sorted(set(rows[name].tolist()), key=lambda each: (each is None, each))
    ]
    tables = {
        CLASSES: _groups_table(rows, whole, names).drop_columns(["slice", "value"]),
        SLICES: _groups_table(rows, [part for part in parts if part[3].any()], names),
        FOLDS: _folds_table(rows, numbers, names),
        FAILURES: FAILURES_SCHEMA.empty_table(),
    }
    for name, table in tables.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(encode_table(table))
    flat = _manifest(files, names, len(np.unique(rows["example_id"])), config or {}) | manifest
    (root / MANIFEST).write_bytes(encode_manifest(sealed(flat)))
    return str(root)


def moments(values: npt.NDArray[np.floating[Any]]) -> tuple[float | None, ...]:
    """Mean, standard deviation and skewness of the population."""
    if not len(values):
        return (None, None, None)
    exact = values.astype(np.float64)
    centred = exact - exact.mean()
    std = float(np.sqrt(np.mean(centred**2)))
    return float(exact.mean()), std, float(np.mean(centred**3)) / std**3 if std else None


def _group(rows: Rows, inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n": int(inside.sum()),
        "n_correct": int((rows["predicted"] == rows["label"])[inside].sum()),
        "undefined_maps": int(np.isnan(rows["peak_x"][inside]).sum()),
    }
    for name in (*STATISTICS, _SCORE):
        values = rows[name][inside]
        values = values[~np.isnan(values)]
        found[f"{name}_mean"], found[f"{name}_std"], found[f"{name}_skewness"] = moments(values)
        if name != _SCORE:
            counts = np.histogram(values.astype(np.float64), BINS, (0, 1))[0]
            upto = np.concatenate([[0], np.cumsum(counts)])
            for percent in _PERCENTS:
                wanted = percent * len(values) / 100
                place = int(np.searchsorted(upto[1:], wanted))
                part = (wanted - upto[place]) / counts[place] if len(values) else np.nan
                found[f"{name}_q{percent:02d}"] = (place + part) / BINS if len(values) else None
            found[f"{name}_histogram"] = counts.tolist()
    maps = rows["sketch"][inside & ~np.isnan(rows["peak_x"])]
    nothing = np.full(GRID[0] * GRID[1], np.nan)
    found["mean_map"] = maps.mean(axis=0) if len(maps) else nothing
    found["std_map"] = maps.std(axis=0) if len(maps) else nothing
    return found


def _groups_table(
    rows: Rows,
    groups: Sequence[tuple[str | None, str | None, int, npt.NDArray[np.bool_]]],
    names: Sequence[str],
) -> pa.Table:
    found = [_group(rows, inside) for *_, inside in groups]
    columns: dict[str, pa.Array] = {
        "slice": pa.array([name for name, *_ in groups], pa.string()),
        "value": pa.array([value for _, value, *_ in groups], pa.string()),
        "class": pa.array([number for _, _, number, _ in groups], pa.int32()),
        "class_name": pa.array([names[number] for _, _, number, _ in groups], pa.string()),
    }
    fields = []
    for name in found[0] if found else ():
        values = [each[name] for each in found]
        if name.endswith("_map"):
            columns[name] = _tensors(values, pa.float32())
        elif name.endswith("_histogram"):
            columns[name] = pa.array(values, pa.list_(pa.int64()))
        else:
            kind = pa.int64() if name in ("n", "n_correct", "undefined_maps") else pa.float64()
            columns[name] = pa.array(values, kind)
    for name, column in columns.items():
        edges = {"edges": json.dumps({"count": BINS + 1, "range": [0.0, 1.0]})}
        metadata = edges if name.endswith("_histogram") else None
        fields.append(pa.field(name, column.type, metadata=metadata))
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _folds_table(rows: Rows, numbers: Sequence[int], names: Sequence[str]) -> pa.Table:
    folds = np.array(
        [google_crc32c.value(name.encode()) % FOLD_COUNT for name in rows["example_id"]]
    )
    defined = ~np.isnan(rows["peak_x"])
    found = []
    for number in numbers:
        for fold in range(FOLD_COUNT):
            inside = (rows["target"] == number) & (folds == fold) & defined
            if inside.any():
                found.append((number, fold, int(inside.sum()), rows["sketch"][inside].mean(axis=0)))
    return pa.table(
        {
            "class": pa.array([number for number, *_ in found], pa.int32()),
            "class_name": pa.array([names[number] for number, *_ in found], pa.string()),
            "fold": pa.array([fold for _, fold, *_ in found], pa.int32()),
            "n": pa.array([n for *_, n, _ in found], pa.int64()),
            "mean_map": _tensors([mean for *_, mean in found], pa.float32()),
        }
    )


def _maps_table(rows: Rows, shard: str) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array(each) for name, each in rows.items() if name != "sketch"
    }
    for name in SLICES_OF_ROWS:
        columns[name] = pa.array(rows[name].tolist(), pa.string())
    units = np.rint(rows["sketch"] * _UNIT).astype(np.int32)
    count = len(units)
    return pa.table(
        {
            **columns,
            "shard": pa.array([shard] * count, pa.string()),
            "sketch": _tensors(units, pa.int32()),
        }
    )


def _tensors(maps: Any, kind: pa.DataType) -> pa.ExtensionArray:
    tensor = pa.fixed_shape_tensor(kind, GRID)
    dtype = pa.array([], kind).to_numpy().dtype
    flat = pa.array(np.asarray(maps).astype(dtype).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, type=tensor.storage_type)
    return pa.ExtensionArray.from_storage(tensor, storage)


def _manifest(
    files: Sequence[Shard], names: Sequence[str], examples: int, config: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "status": "complete",
        "fingerprint": "f" * 64,
        "settings": {"explain": {"method": "saliency", "reducer": "max"}},
        "config": {"source": {"features": {"id": "id"}}, **config},
        "model": {"digest": "0" * 64, "uri": "model.keras"},
        "shards": [{"path": each.path, "size": each.size, "version": None} for each in files],
        "map_format": {
            "map_shape": [8, 8],
            "codec": "uint8",
            "sketch_shape": list(GRID),
            "with_boxes": False,
            "with_predictions": True,
        },
        "class_names": list(names),
        "engine": "tensorflow",
        "engine_notes": [],
        "engine_agreement": None,
        "batch_size": 8,
        "batch_size_measured": None,
        "threads": 1,
        "runner": "FnApiRunner",
        "started": "2026-11-24T00:00:00+00:00",
        "versions": {},
        "records_read": examples,
        "explained_examples": examples,
        "failed_records": 0,
        "unreadable_records_estimated": 0,
        "failed_fraction": 0.0,
        "inputs": [],
        "broken_files": [],
        "duplicate_ids": 0,
        "maps": examples,
        "blocks": len(files),
        "map_bytes": 1,
        "maps_digest": "0" * 16,
        "blocks_resumed": 0,
        "wall_seconds": 1.0,
        "examples_per_second": 1.0,
        "finished": "2026-11-24T00:00:01+00:00",
        "digests": {},
    }
