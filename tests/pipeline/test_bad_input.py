"""What is refused before any work: one clear message, exit code 2, and nothing written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_dataset import CLASSES, SIDE, MakeConfig

from pipeline.cli import main


def refusal(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> str:
    """Runs a configuration that must be refused; returns the message."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    capsys.readouterr()
    assert main(["run", str(path), "--quiet", *options]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert not (tmp_path / "atlas").exists()
    assert written.err.startswith("error: ")
    assert "Traceback" not in written.err
    return written.err


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def settings(make_config: MakeConfig) -> dict[str, Any]:
    return make_config().as_dict()


@pytest.fixture(scope="module")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    folder = tmp_path_factory.mktemp("models")
    image = keras.Input((SIDE, SIDE, 3), name="image")
    mask = keras.Input((SIDE, SIDE, 3), name="mask")
    flat = keras.layers.Flatten()(image)
    scores = keras.layers.Dense(CLASSES, name="scores")(flat)
    keras.Model([image, mask], keras.layers.Add()([image, mask])).save(folder / "two-inputs.keras")
    keras.Model(image, {"scores": scores, "flat": flat}).save(folder / "two-outputs.keras")
    doubled = keras.layers.Lambda(lambda x: x * 2)(scores)
    keras.Model(image, doubled).save(folder / "lambda.keras")
    return folder


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("source.pattern=nowhere/*.tfrecord", "no file matches 'nowhere/*.tfrecord'"),
        ("explain.bacth_size=8", "unknown key explain.bacth_size: did you mean batch_size?"),
        ("explain.batch_size='8'", 'explain.batch_size is "8": it must be auto or an integer'),
        ("explain.batch_size=0", "explain.batch_size is 0: it must be auto or an integer"),
        ("source.features.input=picture", "picture"),
        (
            "source.features.label=null",
            "source.features.label is null; give the name of the feature",
        ),
        (
            "source.features.boxes=box",
            "source.features.boxes is 'box', which none of the first examples has; there are: id, "
            "image, label; name one of them, or leave it out",
        ),
        ("model.uri=nowhere.keras", "nowhere.keras"),
        ("model.output_layer=lodgits", "logits"),
        ("source.input.shape=[10, 10, 3]", "inputs of shape (10, 10, 3) do not fit model"),
        ("explain.target={class: 4}", "explain.target.class is 4, but the model has 4 outputs"),
        ("explain.target={top: 5}", "explain.target.top is 5, but the model has 4 outputs"),
        ("explain.operator=no_such_module:score", "no_such_module"),
        ("explain.operator=operators_of_tests:missing", "has no 'missing'"),
        ("explain.operator=operators_of_tests:summed", "one score per example"),
    ],
)
def test_a_wrong_setting_is_named(
    override: str,
    expected: str,
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "operators_of_tests.py").write_text(
        "import tensorflow as tf\n"
        "def summed(model, inputs, targets):\n"
        "    return tf.reduce_sum(model(inputs) * targets)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("operators_of_tests", None)
    assert expected in refusal(settings, tmp_path, capsys, "--set", override)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("two-inputs.keras", "has 2 inputs (image, mask), but one is explained"),
        ("two-outputs.keras", "scores), but one is explained; choose one by output_layer"),
        ("lambda.keras", "allow_unsafe"),
    ],
)
def test_a_model_that_cannot_be_explained_is_named(
    model: str,
    expected: str,
    other_models: Path,
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    override = f"model.uri={other_models / model}"
    assert expected in refusal(settings, tmp_path, capsys, "--set", override)


def test_a_damaged_model_is_named(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "broken.keras"
    model.write_bytes(b"PK\x03\x04 and no more")
    assert str(model) in refusal(settings, tmp_path, capsys, "--set", f"model.uri={model}")


def test_a_missing_feature_lists_those_there_are(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(settings, tmp_path, capsys, "--set", "source.features.input=picture")
    assert all(name in message for name in ("picture", "id", "image", "label"))


def test_a_missing_layer_lists_those_there_are(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(settings, tmp_path, capsys, "--set", "model.output_layer=lodgits")
    assert all(name in message for name in ("lodgits", "conv2d", "flatten", "logits"))


@pytest.mark.parametrize("names", [None, ["ant", "bee"]])
def test_labels_that_mean_nothing_are_refused(
    names: list[str] | None,
    rows: list[list[dict[str, Any]]],
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = pa.Table.from_pylist([{**row, "label": "wasp"} for row in rows[0]])
    pq.write_table(table, tmp_path / "a.parquet")
    settings["source"] |= {"pattern": str(tmp_path / "a.parquet"), "format": "parquet"}
    del settings["source"]["compression"], settings["limits"]["max_record_bytes"]
    options = []
    if names is not None:
        (tmp_path / "classes.txt").write_text("\n".join(names))
        options += ["--set", f"source.classes={tmp_path}/classes.txt"]
    message = refusal(settings, tmp_path, capsys, *options)
    assert "wasp" in message
    assert "source.classes" in message


def test_an_output_path_that_cannot_be_written_is_named(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "atlas"
    message = refusal(settings, tmp_path, capsys, "--set", f"output.path={path}")
    assert str(path) in message
    assert "output.path" in message


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_output_path_that_is_a_file_is_refused_before_any_work(
    command: str,
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, file = tmp_path / "config.yaml", tmp_path / "file"
    config.write_text(yaml.safe_dump({**settings, "model": {"uri": "nowhere.keras"}}))
    file.write_text("not a folder")
    for path, where in ((file, "it"), (file / "atlas", str(file))):
        assert main([command, str(config), "--set", f"output.path={path}"]) == 2
        expected = f"error: output.path: {path} cannot be a folder, as {where} is a file"
        assert capsys.readouterr().err.startswith(expected)


def test_plan_finds_an_output_that_cannot_be_written(
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**settings, "model": {"uri": "nowhere.keras"}}))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    assert main(["plan", str(config)]) == 2
    assert "cannot be written ([Errno 13] Permission denied" in capsys.readouterr().err
    (tmp_path / "atlas").mkdir()
    assert main(["plan", str(config)]) == 3
    assert "make it writable, then go on with --resume" in capsys.readouterr().err


def test_plan_finds_a_runner_option_that_beam_does_not_know(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert main(["plan", str(config), "--set", "runner.direct_num_worker=2"]) == 2
    assert "--direct_num_worker: did you mean --direct_num_workers?" in capsys.readouterr().err
    assert main(["plan", str(config), "--runner", "prism", "--", "--prism_location=/none"]) == 2
    assert "Prism is not at /none" in capsys.readouterr().err


def test_an_existing_atlas_is_not_touched(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(make_config().as_dict()))
    assert main(["run", str(path), "--quiet"]) == 0
    before = contents(tmp_path / "atlas")
    capsys.readouterr()
    assert main(["run", str(path), "--quiet"]) == 2
    assert "holds an atlas already (complete)" in capsys.readouterr().err
    assert main(["run", str(path), "--resume", "--quiet", "--set", "explain.reducer=sum"]) == 2
    message = capsys.readouterr().err
    assert "explain.reducer: the atlas has 'max', this run 'sum'" in message
    assert contents(tmp_path / "atlas") == before


def test_changed_inputs_are_refused_by_name(
    make_config: MakeConfig,
    tfrecords: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for shard in tfrecords.glob("*.tfrecord"):
        (data / shard.name).write_bytes(shard.read_bytes())
    source = {**make_config().as_dict()["source"], "pattern": str(data / "*.tfrecord")}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(make_config(source=source).as_dict()))
    assert main(["run", str(path), "--quiet"]) == 0
    whole = (data / "data-1.tfrecord").read_bytes()
    (data / "data-1.tfrecord").write_bytes(whole[:-1])
    (data / "data-2.tfrecord").unlink()
    (data / "data-9.tfrecord").write_bytes(whole)
    capsys.readouterr()
    assert main(["run", str(path), "--resume", "--quiet"]) == 2
    message = capsys.readouterr().err
    assert f"data-1.tfrecord: it had {len(whole)} bytes, now {len(whole) - 1}" in message
    assert "data-2.tfrecord: the atlas has it, this run does not" in message
    assert "data-9.tfrecord: new to the atlas; take it in with --extend" in message


def test_too_many_failures_end_with_exit_code_3(
    make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(make_config(failures={"max_fraction": 0.05}).as_dict()))
    assert main(["run", str(path), "--quiet"]) == 3
    message = capsys.readouterr().err
    assert "3 of 40 records failed, more than failures.max_fraction allows (0.05)" in message
    again = ["run", str(path), "--resume", "--quiet", "--set", "failures.max_fraction=0.1"]
    assert main(again) == 0
