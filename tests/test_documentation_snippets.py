"""Every snippet of Python in the pages runs, and so does every command of ours that can here."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import documentation
import duckdb
import numpy as np
import pytest
from architecture import ROOT
from documentation import PAGES, name_of

from pipeline import Atlas, cli

SIDE = 64  # the demo's
NAMES = ("retina", "temple", "tissue")
WITH_PYTHON = [page for page in PAGES if documentation.blocks(page, "python")]
# They need a cluster, or what has to be built.
ELSEWHERE = ("--runner flink", "--runner dataflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo, explained, and a `config.yaml` for the same tiles."""
    import keras
    import tensorflow as tf
    from small_dataset import serialized_example

    from pipeline.config.keys import load_config
    from pipeline.run.in_memory import run_in_memory

    root = tmp_path_factory.mktemp("pages")
    (root / "demo/data/tfrecord").mkdir(parents=True)
    (root / "demo/classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    tiles = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    with tf.io.TFRecordWriter(str(root / "demo/data/tfrecord/0.tfrecord")) as writer:
        for number, tile in enumerate(tiles):
            label = number % len(NAMES)
            encoded = tf.io.encode_png(tile).numpy()
            writer.write(serialized_example(f"{NAMES[label]}-{number // 3:03d}", encoded, label))
            (root / f"{number}.png").write_bytes(encoded)
    (root / "broken.png").write_bytes(b"not an image")
    keras.utils.set_random_seed(7)
    layers = [
        keras.Input((SIDE, SIDE, 3)),
        keras.layers.Conv2D(2, 3, strides=4, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(len(NAMES), name="logits"),
    ]
    keras.Sequential(layers).save(root / "demo/model.keras")
    shutil.copytree(ROOT / "configs", root / "configs")
    text = (root / "configs/demo-tfrecord.yaml").read_text()
    (root / "config.yaml").write_text(text.replace("demo/atlases/tfrecord", "atlases/mine"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_in_memory(load_config("configs/demo-tfrecord.yaml"))
    return root


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_snippets_run(
    page: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import apache_beam as beam
    import keras

    from transforms import Example

    monkeypatch.chdir(folder)
    root = beam.Pipeline("FnApiRunner")
    examples = [Example(str(number), (folder / f"{number}.png").read_bytes()) for number in (0, 1)]
    given: dict[str, Any] = {
        "model": keras.models.load_model("demo/model.keras"),
        "images": np.zeros((2, SIDE, SIDE, 3), np.float32),
        "one_hot_targets": np.eye(len(NAMES), dtype=np.float32)[:2],
        "paths": ["0.png", "broken.png"],
        "examples": root | beam.Create(examples),
    }
    for block in documentation.blocks(page, "python"):
        exec(compile(block, name_of(page), "exec"), given)  # noqa: S102 - it is ours
    root.run().wait_until_finish()
    printed = capsys.readouterr().out
    if page == ROOT / "README.md":
        ids, sketch = given["table"]["example_id"].to_pylist(), given["sketch"]
        for example_id, values in zip(ids, given["values"], strict=True):
            np.testing.assert_allclose(values, given["atlas"].map(example_id), rtol=1e-6)
        np.testing.assert_allclose(sketch.sum(axis=(1, 2)), 1, atol=1e-5)
        assert sketch.shape == (6, 16, 16)
        assert given["maps"].shape == (2, SIDE, SIDE, 1)
    else:
        assert "UndecodableImage" in printed
        assert "('0.png', " in printed
        assert "\n2 2 0." in printed  # class 2 has two maps


def test_queries_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (block,) = documentation.blocks(ROOT / "README.md", "sql")
    first, second, third = (
        duckdb.execute(query).fetchall() for query in block.split(";") if query.strip()
    )
    atlas = Atlas.open("demo/atlases/tfrecord")
    ordered = atlas.table(["example_id", "corner_energy"]).sort_by(
        [("corner_energy", "descending")]
    )
    assert [energy for _, energy in first] == ordered["corner_energy"].to_pylist()
    assert sum(row[2] for row in second) == len(ordered)
    assert {row[0] for row in third} <= {*NAMES}
    assert all(times > 1 for *_, times in third)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("pipeline.commands.native_stderr.start_tensorflow", lambda: None)
    monkeypatch.syspath_prepend(str(folder))
    for block in documentation.blocks(page, "python"):
        if block.startswith("# my_scores.py"):
            Path("my_scores.py").write_text(block)
    shutil.rmtree("atlases", ignore_errors=True)
    for name in ("old", "new"):  # what is compared
        shutil.copytree("demo/atlases/tfrecord", f"atlases/{name}")
    for command in documentation.commands(page):
        words = [word for word in shlex.split(command) if word != "PYTHONPATH=."]
        if words[0] != "saliency-atlas" or any(each in command for each in ELSEWHERE):
            continue
        if "explain.operator=my_scores:margin" in command:
            words.append("--overwrite")
        words = ["atlases/mine" if word == "ATLAS" else word for word in words[1:]]
        assert cli.main(words) == cli.DONE, command
