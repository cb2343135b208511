"""Rows with maps, and mean maps, of an atlas that a run has made."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image
from small_dataset import BLOCK_SIZE, SIDE

from pipeline.atlas import Atlas
from pipeline.explained import ExplainedMap
from transforms.errors import ConfigurationError


@pytest.fixture(scope="module")
def atlas(tfrecords: Path, model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    from pipeline.config.keys import Config
    from pipeline.run.in_memory import run_in_memory

    path = tmp_path_factory.mktemp("atlas") / "a"
    settings: dict[str, Any] = {
        "source": {
            "pattern": str(tfrecords / "*.tfrecord"),
            "features": {"id": "id", "input": "image", "label": "label"},
            "input": {"shape": [SIDE, SIDE, 3]},
        },
        "model": {"uri": str(model_path)},
        "explain": {"batch_size": 8, "engine": "tensorflow"},
        "output": {"path": str(path), "block_size": BLOCK_SIZE},
        "failures": {"max_fraction": 1.0},
    }
    run_in_memory(Config.from_dict(settings))
    return Atlas.open(str(path))


def test_examples_are_the_highest_with_their_maps(atlas: Atlas) -> None:
    rows = atlas.table(["example_id", "corner_energy", "target"]).to_pylist()
    ordered = sorted(rows, key=lambda row: -row["corner_energy"])
    found = atlas.examples(order_by="corner_energy", limit=5)
    assert [each.row["example_id"] for each in found] == [row["example_id"] for row in ordered[:5]]
    for each in found:
        values = atlas.map(each.row["example_id"], each.row["target"])
        np.testing.assert_array_equal(each.values, values)
        assert "map" not in each.row
        assert "entropy" in each.row


def test_examples_can_be_filtered_and_be_the_lowest(atlas: Atlas) -> None:
    found = atlas.examples(pc.field("target") == 2, "entropy", 3, ascending=True)
    rows = atlas.table(["entropy"], pc.field("target") == 2)["entropy"].to_pylist()
    assert [each.row["entropy"] for each in found] == sorted(rows)[:3]
    first = atlas.examples(limit=2)
    assert [each.row["record"] for each in first] == [0, 1]
    assert atlas.examples(pc.field("target") == 99) == []
    with pytest.raises(ConfigurationError, match="the atlas has no column 'corner': it has "):
        atlas.examples(order_by="corner")


def test_a_mean_map_is_that_of_its_examples(atlas: Atlas) -> None:
    for part, where in (
        (None, pc.field("target") == 2),
        ({"outcome": "correct"}, (pc.field("target") == 2) & (pc.field("predicted") == 2)),
        ({"outcome": "wrong"}, (pc.field("target") == 2) & (pc.field("predicted") != 2)),
    ):
        sketches = atlas.table(["sketch"], where)["sketch"].combine_chunks()
        if not len(sketches):
            with pytest.raises(KeyError):
                atlas.mean_map(2, slice=part)
            continue
        expected = sketches.to_numpy_ndarray().astype(np.float64).mean(axis=0) / 2**24
        found = atlas.mean_map(2, slice=part)
        np.testing.assert_allclose(found, expected, atol=1e-7)
        assert found.sum() == pytest.approx(1, abs=1e-4)


def test_a_mean_map_of_nothing_is_refused(atlas: Atlas) -> None:
    with pytest.raises(KeyError, match="99"):
        atlas.mean_map(99)
    with pytest.raises(KeyError, match="camera"):
        atlas.mean_map(2, slice={"camera": "A"})


def test_a_notebook_shows_a_map_in_the_colours_of_reports(atlas: Atlas) -> None:
    (found,) = atlas.examples(limit=1)
    assert found.thumbnail == atlas.thumbnail(found.row["example_id"])
    assert found.thumbnail is not None
    with Image.open(io.BytesIO(found._repr_png_())) as picture:
        shown = np.asarray(picture)
    side = 224 // SIDE * SIDE
    assert shown.shape == (side, 3 * side + 8, 3)
    (alone,) = (each for each in atlas.maps() if each.example_id == found.row["example_id"])
    with Image.open(io.BytesIO(alone._repr_png_())) as picture:
        np.testing.assert_array_equal(np.asarray(picture), shown[:, -side:])
    # An even map is 1 times uniform: a third of the way from a quarter to 16, and of the colours.
    with Image.open(
        io.BytesIO(ExplainedMap("a", 0, np.ones((4, 4), np.float32))._repr_png_())
    ) as picture:
        assert {*picture.getdata()} == {(81, 91, 110)}


def test_what_is_calculated_from_a_mean_map_is_no_picture(atlas: Atlas) -> None:
    mean_map = atlas.mean_map(2)
    assert mean_map._repr_png_().startswith(b"\x89PNG")
    assert type(mean_map - atlas.mean_map(1)) is np.ndarray
    assert type(mean_map.sum()) is np.float32
    assert mean_map.sum() == pytest.approx(1, abs=1e-5)
