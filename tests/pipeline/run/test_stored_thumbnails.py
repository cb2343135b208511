"""Thumbnails from a run to its readers: the same everywhere, checked, and optional."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_dataset import MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands.run import run
from pipeline.commands.show import show
from pipeline.commands.verify import verify
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.formats.images.thumbnails import ThumbnailEncoder
from transforms.storage import LocalStorage
from transforms.store.block_file import METADATA_KEY, encode_table

Rows = list[list[dict[str, Any]]]


def test_each_row_has_the_picture_of_its_input(make_config: MakeConfig, rows: Rows) -> None:
    config = make_config(explain={"target": {"top": 2}})
    manifest = run_in_memory(config)
    assert manifest["map_format"]["thumbnail_shape"] == [12, 12]
    atlas = Atlas.open(config.output.path)
    table = atlas.table(["example_id", "thumbnail"])
    assert table.num_rows == 2 * manifest["explained_examples"]
    pictures: dict[str, set[bytes]] = {}
    for row in table.to_pylist():
        pictures.setdefault(row["example_id"], set()).add(row["thumbnail"])
    assert {len(each) for each in pictures.values()} == {1}
    (picture,) = pictures["1/11"]
    assert atlas.thumbnail("1/11") == picture
    original = np.asarray(Image.open(io.BytesIO(rows[1][11]["image"])), np.float32)
    assert picture == ThumbnailEncoder((12, 12, 3)).encode(original)
    assert "thumbnail" not in atlas.table().column_names
    assert atlas.thumbnail("9/99") is None


def test_runner_and_resume_make_the_same_bytes(make_config: MakeConfig, tmp_path: Path) -> None:
    run_in_memory(make_config(output={"path": str(tmp_path / "one"), "block_size": 8}))
    expected = atlas_bytes(tmp_path / "one")
    config = make_config(output={"path": str(tmp_path / "two"), "block_size": 8})
    run(config, "new", [], Progress(None), None)
    assert atlas_bytes(tmp_path / "two") == expected
    for block in list((tmp_path / "two/maps").glob("*/block-00001.parquet")):
        block.unlink()
    run(config, "resume", [], Progress(None), None)
    assert atlas_bytes(tmp_path / "two") == expected


def test_without_them_an_atlas_is_completed_as_it_was_begun(make_config: MakeConfig) -> None:
    config = make_config(output={"thumbnail": None})
    run_in_memory(config)
    atlas = Atlas.open(config.output.path)
    assert "thumbnail" not in atlas.manifest["settings"]["output"]
    with pytest.raises(ConfigurationError, match="no column 'thumbnail'"):
        atlas.table(["thumbnail"])
    assert atlas.thumbnail("1/11") is None
    assert verify(config.output.path, LocalStorage())["problems"] == []
    with pytest.raises(ConfigurationError) as raised:
        run_in_memory(make_config(), "resume")
    assert str(raised.value).endswith("\n  output.thumbnail: the atlas has None, this run 96")


def test_verify_looks_at_them(atlas_copy: Path) -> None:
    (path,) = atlas_copy.glob("maps/data-2*/block-00000.parquet")
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[METADATA_KEY])
    column = table.column_names.index("thumbnail")

    def with_thumbnails(values: list[bytes]) -> str:
        replaced = table.set_column(column, table.schema.field(column), [values])
        path.write_bytes(encode_table(replaced, metadata))
        first = verify(str(atlas_copy), LocalStorage())["problems"][0]
        assert first["path"] == str(path)
        return str(first["what"])

    whole = table["thumbnail"].to_pylist()
    assert with_thumbnails([whole[0], b"GIF", *whole[2:]]).startswith(
        "the thumbnail of row 1 is no JPEG ("
    )
    cut = whole[1][: len(whole[1]) // 3]
    assert with_thumbnails([whole[0], cut, *whole[2:]]).startswith("the thumbnail of row 1 is no J")
    sink = io.BytesIO()
    Image.new("RGB", (9, 12)).save(sink, format="JPEG")
    assert with_thumbnails([sink.getvalue(), *whole[1:]]) == (
        "the thumbnail of row 0 is 12 x 9 pixels: remove it and go on with --resume"
    )
    path.write_bytes(encode_table(table.remove_column(column), metadata))
    assert verify(str(atlas_copy), LocalStorage())["problems"][0]["what"] == (
        "it has no thumbnails, other than the manifest says: remove it and go on with --resume"
    )


def test_show_takes_them_where_the_input_has_gone(
    make_config: MakeConfig, tfrecords: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(tfrecords, shards)
    features = {"id": "id", "input": "image", "label": "label"}
    config = make_config(source={"pattern": str(shards / "*"), "features": features})
    run_in_memory(config)
    output = tmp_path / "shown.png"
    show(config.output.path, "0/9", str(output))
    with_input = np.asarray(Image.open(output), float)
    (shards / "data-0.tfrecord").unlink()
    shown = show(config.output.path, "0/9", str(output))
    assert shown["note"] == (
        f"{shards / 'data-0.tfrecord'} cannot be read any more: its thumbnail is shown"
    )
    with_thumbnail = np.asarray(Image.open(output), float)
    assert with_thumbnail.shape == with_input.shape
    assert np.abs(with_thumbnail - with_input).mean() < np.abs(with_input[::-1] - with_input).mean()
