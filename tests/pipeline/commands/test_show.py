from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.commands.drawing.maps import draw
from pipeline.commands.show import show
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError

MakeConfig = Callable[..., Config]
Rows = list[list[dict[str, Any]]]

SIDE = 12
FACTOR = 21  # 256 // 12
PANEL = SIDE * FACTOR
GAP = 8
DARKEST, BRIGHTEST = (0, 0, 4), (252, 255, 164)


def panels(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """The three panels at the size of the map."""
    starts = [number * (PANEL + GAP) for number in range(3)]
    return [pixels[::FACTOR, start : start + PANEL : FACTOR] for start in starts]


def test_an_image_is_shown_beside_and_under_its_map(
    make_config: MakeConfig, rows: Rows, tmp_path: Path
) -> None:
    config = make_config()
    run_in_memory(config)
    output = tmp_path / "shown.png"
    shown = show(config.output.path, "1/11", str(output))
    expected = Atlas.open(config.output.path).map("1/11")

    assert shown["example_id"] == "1/11"
    assert (shown["shard"], shown["record"]) == ("data-1.tfrecord", 11)
    assert shown["label"] == shown["target"] == rows[1][11]["label"]
    assert shown["note"] is None
    assert shown["output"] == str(output)
    assert {"map", "sketch", "peak_window"}.isdisjoint(shown)
    assert json.loads(json.dumps(shown)) == shown

    pixels = np.asarray(Image.open(output))
    assert pixels.shape == (PANEL, 3 * PANEL + 2 * GAP, 3)
    assert (pixels[:, PANEL : PANEL + GAP] == 255).all()
    picture, colours, _ = panels(pixels)
    np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(rows[1][11]["image"]))))
    assert tuple(colours.reshape(-1, 3)[expected.argmax()]) == BRIGHTEST
    np.testing.assert_array_equal(pixels, draw(expected, picture.astype(np.float32)))


@pytest.mark.parametrize("identified", [True, False])
def test_the_right_record_of_parquet_shards_is_found(
    make_config: MakeConfig, parquets: Path, rows: Rows, tmp_path: Path, identified: bool
) -> None:
    features = {"input": "image", "label": "label", "id": "id" if identified else None}
    config = make_config(
        source={
            "pattern": str(parquets / "*.parquet"),
            "format": "parquet",
            "features": features,
        }
    )
    run_in_memory(config)
    output = tmp_path / "shown.png"
    third = Atlas.open(config.output.path).shards[2]
    example_id = "2/3" if identified else third.example_id(3)
    assert show(config.output.path, example_id, str(output))["note"] is None
    picture, _, _ = panels(np.asarray(Image.open(output)))
    np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(rows[2][3]["image"]))))


def test_a_map_is_shown_alone_when_its_input_has_gone_or_changed(
    make_config: MakeConfig, tfrecords: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for path in tfrecords.glob("*.tfrecord"):
        (shards / path.name).write_bytes(path.read_bytes())
    features = {"id": "id", "input": "image", "label": "label"}
    config = make_config(
        source={"pattern": str(shards / "*"), "format": "tfrecord", "features": features},
        output={"thumbnail": None},
    )
    run_in_memory(config)
    output = tmp_path / "shown.png"
    changed = shards / "data-0.tfrecord"

    changed.write_bytes((shards / "data-1.tfrecord").read_bytes())
    shown = show(config.output.path, "0/9", str(output))
    assert shown["note"] == (
        "record 9 of data-0.tfrecord is not 0/9 any more: the map is shown alone"
    )
    assert np.asarray(Image.open(output)).shape == (PANEL, PANEL, 3)

    changed.unlink()
    shown = show(config.output.path, "0/9", str(output))
    assert shown["note"] == f"{changed} cannot be read any more: the map is shown alone"
    assert np.asarray(Image.open(output)).shape == (PANEL, PANEL, 3)


def test_what_cannot_be_shown_is_said(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    run_in_memory(config)
    output = str(tmp_path / "shown.png")

    def refusal(atlas: str, example_id: str, output: str) -> str:
        with pytest.raises(ConfigurationError) as raised:
            show(atlas, example_id, output)
        return str(raised.value)

    assert refusal(config.output.path, "0/99", output) == (
        "the atlas has no example 0/99; the nearest are 0/9, 0/8, 0/7"
    )
    assert refusal(config.output.path, "0/3", output).startswith(
        "example 0/3 has no map: it failed at decode: "
    )
    assert refusal(str(tmp_path), "0/9", output) == (
        f"{tmp_path} is no atlas: it has no manifest.json; give the output.path of a run"
    )
    away = str(tmp_path / "absent" / "shown.png")
    assert refusal(config.output.path, "0/9", away).startswith(f"{away} cannot be written: ")
    assert not Path(output).exists()


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((16,), (18 * 18, 640, 3)),  # a bar each, what they are above, and a line below
        ((8, 2), (2 * 116 + 30, 900, 3)),  # a panel each, and the time below
        ((8, 13), (8 * 19, 13 * 19, 3)),  # too many for lines
        ((4, 5, 3), (4 * 51, 3 * 5 * 51 + 2 * GAP, 3)),  # like an image, and shown like one
        ((4, 5, 2), (4 * 51, 5 * 51, 3)),
    ],
)
def test_tensors_are_drawn_by_their_kind(
    make_config: MakeConfig, tmp_path: Path, shape: tuple[int, ...], drawn: tuple[int, ...]
) -> None:
    import keras

    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2, name="logits")]
    )
    model.save(tmp_path / "model.keras")
    values = np.random.default_rng(0).normal(size=(5, int(np.prod(shape))))
    table = pa.table({"values": values.tolist(), "label": [0, 1, 0, 1, 0]})
    pq.write_table(table, tmp_path / "data.parquet")
    config = make_config(
        source={
            "pattern": str(tmp_path / "data.parquet"),
            "format": "parquet",
            "features": {"input": "values", "label": "label"},
            "input": {"kind": "tensor", "shape": list(shape)},
        },
        model={"uri": str(tmp_path / "model.keras")},
    )
    run_in_memory(config)
    output = tmp_path / "shown.png"
    example_id = Atlas.open(config.output.path).shards[0].example_id(3)
    assert show(config.output.path, example_id, str(output))["note"] is None
    pixels = np.asarray(Image.open(output))
    assert pixels.shape == drawn
    if shape == (4, 5, 3):
        row = values[3].reshape(shape)
        expected = (row - row.min()) / (row.max() - row.min()) * 255
        np.testing.assert_allclose(pixels[::51, : 5 * 51 : 51], expected, atol=0.51)


def test_a_target_is_shown_by_number_or_name(make_config: MakeConfig, tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("ant\nbee\ncow\ndog\n")
    given = make_config().as_dict()["source"]
    config = make_config(source={**given, "classes": str(classes)}, explain={"target": {"top": 2}})
    run_in_memory(config)
    output = str(tmp_path / "shown.png")
    atlas = Atlas.open(config.output.path)
    first, second = atlas.rows("1/2")["target"].to_pylist()
    names = atlas.manifest["class_names"]
    assert show(config.output.path, "1/2", output)["target"] == first
    for target in (str(second), names[second]):
        assert show(config.output.path, "1/2", output, target)["target"] == second
        pixels = np.asarray(Image.open(output))
        picture = pixels[::FACTOR, :PANEL:FACTOR].astype(np.float32)
        np.testing.assert_array_equal(pixels, draw(atlas.map("1/2", second), picture))
    with pytest.raises(ConfigurationError) as raised:
        show(config.output.path, "1/2", output, "wasp")
    expected = f"{first} ({names[first]}) or {second} ({names[second]})"
    assert str(raised.value) == f"example 1/2 has no map of target wasp: give {expected}"


def test_the_command_shows_an_example(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config()
    run_in_memory(config)
    output = tmp_path / "shown.png"
    assert cli.main(["show", config.output.path, "1/2", "--output", str(output)]) == 0
    assert capsys.readouterr().out.startswith("1/2 (data-1.tfrecord, record 2): label ")
    assert output.exists()


def test_colours_run_from_dark_to_bright_up_to_the_brightest_percentile() -> None:
    values = np.zeros((20, 20), np.float32)
    values[0, :10] = 1.0  # 10 of 400: the 99th percentile is among them
    values[0, 0] = 50.0
    values[1, 0] = 0.5
    colours = draw(values, None)[::12, ::12]
    assert tuple(colours[0, 0]) == tuple(colours[0, 9]) == BRIGHTEST
    assert tuple(colours[5, 5]) == DARKEST
    # 0.5 is half-way between the fifth and the sixth of ten colours.
    assert tuple(colours[1, 0]) == (186, 56, 83)


def test_a_single_bright_pixel_is_seen_and_nothing_is_dark() -> None:
    values = np.zeros((100, 100), np.float32)
    assert (draw(values, None) == DARKEST).all()
    values[3, 4] = 2.0
    assert tuple(draw(values, None)[3 * 2, 4 * 2]) == BRIGHTEST


def test_the_overlay_mixes_by_brightness() -> None:
    values = np.array([[0.0, 1.0]], np.float32)
    picture = np.full((1, 2, 1), 200.0, np.float32)  # grey
    pixels = draw(values, picture)[::128, :]
    left, right = pixels[0, 2 * 256 + 2 * GAP], pixels[0, -1]
    np.testing.assert_array_equal(left, np.rint(0.85 * 200 + 0.15 * np.array(DARKEST)))
    np.testing.assert_array_equal(right, np.rint(0.15 * 200 + 0.85 * np.array(BRIGHTEST)))


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((16,), (2 * 16, 16 * 16, 3)),  # a strip, an eighth as high as wide
        ((3,), (85, 255, 3)),
        ((8, 16), (128, 256, 3)),  # time series
        ((300, 400), (300, 400, 3)),
        ((10, 10, 3), (250, 250, 3)),
    ],
)
def test_maps_of_every_rank_are_drawn(shape: tuple[int, ...], drawn: tuple[int, ...]) -> None:
    assert draw(np.ones(shape, np.float32), None).shape == drawn


def test_channels_show_their_maximum() -> None:
    values = np.zeros((4, 4, 2), np.float32)
    values[0, 0, 1] = 1.0
    np.testing.assert_array_equal(draw(values, None), draw(values.max(axis=-1), None))


def test_examples_of_one_id_are_shown_by_their_place(
    make_config: MakeConfig, rows: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Two files of one name, in two folders, whose examples have the same ids."""
    for folder, row in (("a", rows[0][0]), ("b", rows[1][0])):
        (tmp_path / folder).mkdir()
        table = pa.Table.from_pylist([{**row, "id": "twin"}])
        pq.write_table(table, tmp_path / folder / "part.parquet")
    source = {"pattern": str(tmp_path / "*" / "part.parquet"), "format": "parquet"}
    features = {"id": "id", "input": "image", "label": "label"}
    given = make_config().as_dict()["source"]
    config = make_config(source={"input": given["input"], "features": features, **source})
    manifest = run_in_memory(config)
    assert manifest["duplicate_ids"] == 1
    atlas = Atlas.open(config.output.path)
    places = [shard.example_id(0) for shard in atlas.shards]
    assert places[0] != places[1]
    assert sorted(atlas.rows("twin")["place"].to_pylist()) == sorted(places)
    output = tmp_path / "shown.png"
    note = show(config.output.path, "twin", str(output))["note"]
    assert note is not None
    assert note.startswith("2 examples have this id")
    assert all(place in note for place in places)
    for place, row in zip(places, (rows[0][0], rows[1][0]), strict=True):
        assert show(config.output.path, place, str(output))["note"] is None
        picture, _, _ = panels(np.asarray(Image.open(output)))
        np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(row["image"]))))


def test_nothing_that_a_terminal_obeys_is_printed(
    make_config: MakeConfig,
    rows: list[list[dict[str, Any]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\u202etxt"
    pq.write_table(pa.Table.from_pylist([{**rows[0][0], "id": hostile}]), tmp_path / "x.parquet")
    given = make_config().as_dict()["source"]
    source = {**given, "pattern": str(tmp_path / "x.parquet"), "format": "parquet"}
    del source["compression"]
    config = make_config(source=source)
    run_in_memory(config)
    output = str(tmp_path / "shown.png")
    assert cli.main(["show", config.output.path, hostile, "--output", output]) == 0
    assert cli.main(["show", config.output.path, f"{hostile}!", "--output", output]) == 2
    printed = capsys.readouterr()
    assert r"\x1b[2J\x1b]0;owned\x07\u202etxt" in printed.out
    assert not {"\x1b", "\x07", "\u202e"} & {*printed.out, *printed.err}
