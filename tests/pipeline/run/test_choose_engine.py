"""Engines in whole runs: what is chosen, recorded, and kept."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import MakeConfig

from pipeline.atlas import Atlas
from pipeline.commands.run import run
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from pipeline.run.job import prepare
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.process.cache_folder import CACHE_VARIABLE
from transforms.saliency.engines import selection
from transforms.saliency.engines.agreement import Agreement
from transforms.storage import LocalStorage

pytest.importorskip("openvino")


def make(make_config: MakeConfig, root: Path, mode: Any = "new", **explain: Any) -> dict[str, Any]:
    config = make_config(output={"path": str(root)}, explain=explain)
    return run(config, mode, ["--runner=FnApiRunner"], Progress(None))


def files(root: Path) -> dict[str, bytes]:
    found = [path for path in root.rglob("*.parquet") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_openvino_makes_the_atlas_that_tensorflow_makes(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    manifest = make(make_config, tmp_path / "openvino", engine="openvino")
    make(make_config, tmp_path / "tensorflow")
    assert manifest["engine"] == "openvino"
    assert manifest["engine_agreement"]["smallest_spearman"] > 0.9999
    assert manifest["engine_agreement"]["maps"] == 3
    first, second = (Atlas.open(str(tmp_path / name)) for name in ("openvino", "tensorflow"))
    for found, expected in zip(first.maps(), second.maps(), strict=True):
        assert found.example_id == expected.example_id
        np.testing.assert_allclose(
            found.values, expected.values, rtol=0.02, atol=1e-3 * expected.values.max()
        )


def test_openvino_makes_the_same_bytes_with_and_without_beam(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    make(make_config, tmp_path / "beam", engine="openvino")
    run_in_memory(
        make_config(output={"path": str(tmp_path / "plain")}, explain={"engine": "openvino"})
    )
    assert files(tmp_path / "beam") == files(tmp_path / "plain")
    assert files(tmp_path / "beam")


def test_a_resumed_atlas_goes_on_with_its_engine(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "atlas"
    monkeypatch.setattr(selection._Comparison, "share_of_time", lambda *_: 0.5)
    begun = make(make_config, root, engine="auto")
    assert begun["engine"] == "openvino"
    expected = files(root)
    sorted((root / "maps").rglob("*.parquet"))[0].unlink()
    monkeypatch.setattr(selection._Comparison, "share_of_time", lambda *_: 2.0)
    resumed = make(make_config, root, "resume", engine="auto")
    assert resumed["engine"] == "openvino"
    assert resumed["engine_agreement"] == begun["engine_agreement"]
    assert files(root) == expected


def test_a_resumed_atlas_needs_its_engine(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(make_config, tmp_path / "atlas", engine="openvino")
    with pytest.raises(ConfigurationError, match=r"engine: the atlas has 'openvino', this run 'te"):
        make(make_config, tmp_path / "atlas", "resume", engine="tensorflow")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigurationError) as raised:
        make(make_config, tmp_path / "atlas", "resume", engine="auto")
    assert str(raised.value).startswith(
        "the atlas was begun with engine 'openvino': explain.engine 'openvino' cannot be used: "
        "OpenVINO is not installed"
    )


def test_auto_without_openvino_is_tensorflow(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    manifest = make(make_config, tmp_path / "atlas", engine="auto")
    assert manifest["engine"] == "tensorflow"
    assert manifest["engine_agreement"] is None
    assert "OpenVINO is not installed" in manifest["engine_notes"][-1]


def test_precision_is_recorded(make_config: MakeConfig, tmp_path: Path) -> None:
    manifest = make(make_config, tmp_path / "atlas", precision="bfloat16")
    assert manifest["settings"]["explain"]["precision"] == "bfloat16"
    assert 0 < manifest["engine_agreement"]["mean_difference"] < 0.1


def test_a_resumed_atlas_goes_on_in_its_precision(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "atlas"
    monkeypatch.setattr(selection._Comparison, "share_of_time", lambda *_: 0.5)
    monkeypatch.setattr(Agreement, "holds_for_mixed", True)
    begun = make(make_config, root, engine="openvino", precision="auto")
    assert begun["settings"]["explain"]["precision"] == "mixed"
    assert begun["config"]["explain"]["precision"] == "auto"
    assert 1e-5 < begun["engine_agreement"]["mean_difference"] < 0.1
    expected = files(root)
    sorted((root / "maps").rglob("*.parquet"))[0].unlink()
    monkeypatch.setattr(selection._Comparison, "share_of_time", lambda *_: 2.0)
    make(make_config, root, "resume", engine="openvino", precision="auto")
    assert files(root) == expected
    with pytest.raises(ConfigurationError, match=r"precision: the atlas has 'mixed', this run 'fl"):
        make(make_config, root, "resume", engine="openvino")


def test_a_precision_of_auto_that_comes_to_float32_is_float32(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection._Comparison, "share_of_time", lambda *_: 2.0)
    first = make(make_config, tmp_path / "auto", precision="auto")
    second = make(make_config, tmp_path / "float32", precision="float32")
    assert first["settings"]["explain"]["precision"] == "float32"
    assert first["fingerprint"] == second["fingerprint"]


def test_an_unknown_engine_is_refused(make_config: MakeConfig) -> None:
    settings = json.loads(json.dumps(make_config().as_dict()))
    settings["explain"]["engine"] = "onnx"
    with pytest.raises(ConfigurationError, match="engine is 'onnx'; it must be auto, openvino or"):
        Config.from_dict(settings)


def test_a_run_like_an_earlier_one_compares_nothing(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    config = make_config(explain={"engine": "auto"})
    first = prepare(config, LocalStorage(), "new").job.publication.manifest

    def compare(*_: object) -> None:
        raise AssertionError("engines are compared again")

    with monkeypatch.context() as patch:
        patch.setattr(selection._Comparison, "compare", compare)
        again = prepare(config, LocalStorage(), "new").job.publication.manifest
    assert again.engine_notes[:-1] == first.engine_notes
    assert "engines were compared on 20" in again.engine_notes[-1]
    assert (again.engine, again.engine_agreement) == (first.engine, first.engine_agreement)
    assert again.fingerprint == first.fingerprint


def test_nothing_is_remembered_of_code_of_ones_own(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "own_operators.py").write_text(
        "import tensorflow as tf\n"
        "def total(model, inputs, targets):\n"
        "    return tf.reduce_sum(model(inputs) * targets, axis=-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    explain = {"engine": "openvino", "operator": "own_operators:total"}
    prepare(make_config(explain=explain), LocalStorage(), "new")
    assert not (tmp_path / "cache" / "engines").exists()


@pytest.mark.parametrize("where", ["uses_registered_code", "outside_operation"])
def test_nothing_is_remembered_of_code_that_no_key_names(
    where: str, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(f"pipeline.run.choose.{where}", lambda _: True)
    prepare(make_config(explain={"engine": "openvino"}), LocalStorage(), "new")
    assert not (tmp_path / "cache" / "engines").exists()
