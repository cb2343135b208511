"""Ids are data: whatever they hold, they come back as they were, and name no file."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from small_dataset import SIDE, MakeConfig
from tensorflow.core.example import example_pb2

from pipeline.atlas import Atlas
from pipeline.cli import main
from pipeline.commands.verify import verify
from pipeline.run.in_memory import run_in_memory
from transforms.storage import LocalStorage

IDS = {
    b"../../etc/passwd": "../../etc/passwd",
    b"/absolute/../path": "/absolute/../path",
    b"two\nlines\r\n": "two\nlines\r\n",
    b"nul\0in the middle": "nul\0in the middle",
    b"x" * 10_000: "x" * 10_000,
    b"\xff\xfe invalid \xc3": "\\xff\\xfe invalid \\xc3",
    b"{0.__class__} %s %n ${HOME} `id`": "{0.__class__} %s %n ${HOME} `id`",
    b"<script>alert(1)</script>": "<script>alert(1)</script>",
    b"[red]markup[/red]\x1b[31m": "[red]markup[/red]\x1b[31m",
    "größe 例\u202e".encode(): "größe 例\u202e",
    b"": "",
    b"'; DROP TABLE maps; --": "'; DROP TABLE maps; --",
}


def write(path: Path, example_ids: list[bytes], image: bytes) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, example_id in enumerate(example_ids):
            example = example_pb2.Example()
            feature = example.features.feature
            feature["id"].bytes_list.value.append(example_id)
            feature["image"].bytes_list.value.append(image if number % 2 else image[:30])
            feature["label"].int64_list.value.append(1)
            writer.write(example.SerializeToString())


def test_any_id_survives_as_an_id(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    image = tf.io.encode_png(tf.zeros((SIDE, SIDE, 3), tf.uint8) + 9).numpy()
    # Each id twice: once explained, once a failure; in a file whose name is a pattern itself.
    write(inputs / "a [1]* {x}.tfrecord", [each for each in IDS for _ in range(2)], image)
    source = make_config().as_dict()["source"] | {"pattern": f"{inputs}/*.tfrecord"}
    config = make_config(source=source)
    run_in_memory(config)
    (tmp_path / "atlas" / "failures.parquet").unlink()
    run_in_memory(config, "resume")
    atlas = Atlas.open(str(tmp_path / "atlas"))
    assert atlas.table(["example_id"])["example_id"].to_pylist() == list(IDS.values())
    assert [row["example_id"] for row in atlas.failures.to_pylist()] == list(IDS.values())
    assert atlas.manifest["blocks_resumed"] == 3
    assert verify(str(tmp_path / "atlas"), LocalStorage(), config)["problems"] == []
    for value in IDS.values():
        assert atlas.map(value).shape == (SIDE, SIDE)
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    monkeypatch.chdir(drawn)
    for value in ("../../etc/passwd", "x" * 10_000, "nul\0in the middle"):
        assert main(["show", str(tmp_path / "atlas"), value]) == 0
    assert sorted(path.name for path in drawn.iterdir()) == sorted(
        [".._.._etc_passwd.png", "x" * 100 + ".png", "nul_in_the_middle.png"]
    )
