"""Sizes and properties of images from a run to its readers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_dataset import CLASSES, SIDE, MakeConfig

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.commands.verify import verify
from pipeline.config.audit_section import AuditSection
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.images.properties import input_properties
from transforms.statistics.columns import INPUT_PROPERTIES, INPUT_SIZES
from transforms.storage import LocalStorage
from transforms.store.block_file import METADATA_KEY, encode_table

SIZES = [(12, 12), (20, 31), (40, 9)]


def image(row: int) -> bytes:
    height, width = SIZES[row % len(SIZES)]
    random = np.random.default_rng(row)
    pixels = random.integers(0, 256 - 7 * row, (height, width, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def made(config_at: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Atlas]:
    """Two shards of images of several sizes, each explained for two classes; one is no image."""
    folder = tmp_path_factory.mktemp("sizes")
    for shard, rows in enumerate([range(13), range(13, 20)]):
        images = [image(row) if row != 5 else b"no image" for row in rows]
        table = pa.table({"image": images, "label": [row % CLASSES for row in rows]})
        pq.write_table(table, folder / f"data-{shard}.parquet")
    features = {"input": "image", "label": "label"}
    source = {"pattern": str(folder / "*.parquet"), "format": "parquet", "features": features}
    config = config_at(folder / "atlas", source=source, explain={"target": {"top": 2}})
    run_in_memory(config)
    return config, Atlas.open(config.output.path)


def test_each_row_has_those_of_its_image(made: tuple[Config, Atlas]) -> None:
    config, atlas = made
    rows = [row for row in range(20) if row != 5]
    decoded, _ = InputDecoder(config.input_spec()).decode([image(row) for row in rows])
    expected = input_properties(decoded)
    table = atlas.table([*INPUT_SIZES, *INPUT_PROPERTIES])
    assert table.num_rows == 2 * len(rows)
    sizes = np.repeat([SIZES[row % len(SIZES)] for row in rows], 2, axis=0)
    assert table["input_height"].to_pylist() == sizes[:, 0].tolist()
    assert table["input_width"].to_pylist() == sizes[:, 1].tolist()
    for name in INPUT_PROPERTIES:
        found = table[name].to_numpy()
        np.testing.assert_array_equal(found, np.repeat(expected[name], 2))
        assert len(np.unique(found)) == len(rows)


def test_they_are_summed_by_class_and_slice(made: tuple[Config, Atlas]) -> None:
    _, atlas = made
    names = [*INPUT_SIZES, *INPUT_PROPERTIES]
    table = atlas.table(["target", *names])
    targets = table["target"].to_numpy()
    for row in atlas.classes.to_pylist():
        for name in names:
            values = table[name].to_numpy()[targets == row["class"]].astype(np.float64)
            assert row[f"{name}_mean"] == pytest.approx(values.mean(), rel=1e-8)
            assert row[f"{name}_std"] == pytest.approx(values.std(), rel=1e-6, abs=1e-7)
            if name in INPUT_PROPERTIES:
                assert sum(row[f"{name}_histogram"]) == len(values)
                assert abs(row[f"{name}_q50"] - np.median(values)) < 0.1
            else:
                assert f"{name}_histogram" not in row
    by_outcome = atlas.slices.to_pylist()
    total = sum(row["input_width_mean"] * row["n"] for row in by_outcome)
    assert total == pytest.approx(table["input_width"].to_numpy().sum())


def test_gates_can_be_about_them(made: tuple[Config, Atlas]) -> None:
    _, atlas = made
    gates = [
        {"name": "bright", "statistic": "luminance_mean", "above": 0.9},
        {"name": "low", "statistic": "input_height_mean", "below": 100},
        {"name": "median", "statistic": "contrast_q50", "below": 0.9},
    ]
    result = audit(atlas, AuditSection.model_validate({"min_n": 5, "gates": gates}))
    verdicts = {(each.gate, each.verdict) for each in result.gates if each.n and each.n > 6}
    assert {("bright", "fail"), ("low", "pass")} <= verdicts
    assert {each.gate for each in result.gates} == {"bright", "low", "median"}
    of_height = next(each for each in result.gates if each.gate == "low")
    assert of_height.n in atlas.classes["n"].to_pylist()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("luminance", np.float32(1.5), "its luminance is not within 0 and 1 somewhere"),
        ("sharpness", np.float32(-0.1), "its sharpness is not within 0 and 1 somewhere"),
        ("input_width", np.int32(0), "its input_width is not above 0 somewhere"),
    ],
)
def test_verify_looks_at_them(
    made: tuple[Config, Atlas], name: str, value: npt.NDArray[Any], what: str
) -> None:
    _, atlas = made
    path = Path(atlas.block_paths[0])
    whole = path.read_bytes()
    table = pq.read_table(path)
    column = table.column_names.index(name)
    values = table[name].to_numpy().copy()
    values[1] = value
    field = table.schema.field(column)
    replaced = table.set_column(column, field, pa.array(values, field.type))
    try:
        path.write_bytes(encode_table(replaced, json.loads(table.schema.metadata[METADATA_KEY])))
        problem = verify(atlas.path, LocalStorage())["problems"][0]
    finally:
        path.write_bytes(whole)
    assert problem == {"path": str(path), "what": f"{what}: remove it and go on with --resume"}


def test_tensors_have_none(config_at: MakeConfig, tmp_path: Path) -> None:
    table = pa.table({"x": list(np.ones((3, SIDE * SIDE * 3), np.float32)), "label": [0, 1, 2]})
    pq.write_table(table, tmp_path / "data.parquet")
    source = {
        "pattern": str(tmp_path / "data.parquet"),
        "format": "parquet",
        "features": {"input": "x", "label": "label"},
        "input": {"kind": "tensor", "shape": [SIDE, SIDE, 3]},
    }
    run_in_memory(config_at(tmp_path / "atlas", source=source))
    atlas = Atlas.open(str(tmp_path / "atlas"))
    assert not {*INPUT_SIZES, *INPUT_PROPERTIES} & {*atlas.table().column_names}
    assert not any("luminance" in name for name in atlas.classes.column_names)
    assert verify(str(tmp_path / "atlas"), LocalStorage())["problems"] == []
