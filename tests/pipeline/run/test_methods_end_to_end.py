"""Atlases of other methods than saliency: what is stored, shown, verified, and made again."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_dataset import CLASSES, SIDE, MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands.drawing.maps import draw
from pipeline.commands.plan import plan
from pipeline.commands.show import show
from pipeline.commands.verify import verify
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from pipeline.run.job import prepare
from transforms.formats.reader import read_blocks
from transforms.saliency.methods.integrated_gradients import IntegratedGradientsMethod
from transforms.storage import LocalStorage

SMOOTH: dict[str, Any] = {"smoothgrad": {"samples": 3, "seed": 1}}
INTEGRATED: dict[str, Any] = {
    "integrated_gradients": {"steps": 5, "baseline": [127.5, 110.0, 140.0]}
}
RISE: dict[str, Any] = {"rise": {"samples": 6, "grid_size": 3}}
OCCLUSION: dict[str, Any] = {"occlusion": {"patch_size": 4, "patch_stride": 3}}
METHODS: list[Any] = ["gradient_input", INTEGRATED, SMOOTH, "grad_cam", OCCLUSION, RISE]


def name_of(method: Any) -> str:
    return method if isinstance(method, str) else next(iter(method))


MakeAtlas = Callable[..., Atlas]


def run(make_config: MakeConfig, path: Path, method: Any, **sections: Any) -> Atlas:
    explain = {"batch_size": 3, "engine": "tensorflow", "method": method}
    explain |= sections.pop("explain", {})
    output = {"path": str(path), "block_size": 8} | sections.pop("output", {})
    run_in_memory(make_config(explain=explain, output=output, **sections))
    return Atlas.open(str(path))


@pytest.fixture(scope="module")
def finished(config_at: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> MakeAtlas:
    """Atlases by method and codec, each made once; for tests that change nothing in them."""
    folder = tmp_path_factory.mktemp("atlases")
    known: dict[str, Atlas] = {}

    def make(method: Any, codec: str = "uint8") -> Atlas:
        name = f"{name_of(method)}-{codec}"
        if name not in known:
            make_config = functools.partial(config_at, folder)
            known[name] = run(make_config, folder / name, method, output={"codec": codec})
        return known[name]

    return make


def test_signed_maps_come_back_with_their_signs(finished: MakeAtlas) -> None:
    exact, coded = finished(INTEGRATED, "float32"), finished(INTEGRATED)
    assert coded.manifest["map_format"]["codec"] == "int8"
    maps = {each.example_id: each.values for each in exact.maps()}
    assert len(maps) == 37
    for each in coded.maps():
        expected = maps[each.example_id]
        assert expected.min() < 0 < expected.max()
        scale = np.abs(expected).max()
        roots = [np.sign(m) * np.sqrt(np.abs(m) / scale) for m in (each.values, expected)]
        assert np.abs(roots[0] - roots[1]).max() <= 0.5 / 127 + 1e-6
    rows = coded.table().to_pylist()
    for row in rows:
        values = maps[row["example_id"]]
        share = values[values > 0].sum() / np.abs(values).sum()
        assert row["positive_share"] == pytest.approx(share, abs=1e-5)
        row_of_peak = np.unravel_index(np.abs(values).argmax(), values.shape)[0]
        assert row["peak_y"] == pytest.approx((row_of_peak + 0.5) / SIDE)
    for each in coded.classes.to_pylist():
        shares = [row["positive_share"] for row in rows if row["target"] == each["class"]]
        assert each["positive_share_mean"] == pytest.approx(np.mean(shares), abs=1e-9)
        assert sum(each["positive_share_histogram"]) == len(shares) == each["n"]
    slices = coded.slices.column_names
    assert "positive_share_q50" in slices


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_an_atlas_is_whole_and_the_same_when_made_again(
    method: Any, finished: MakeAtlas, make_config: MakeConfig, tmp_path: Path
) -> None:
    atlas = finished(method)
    assert verify(atlas.path, LocalStorage())["problems"] == []
    config = Config.from_dict(atlas.manifest["config"])
    assert verify(atlas.path, LocalStorage(), config)["problems"] == []
    run(make_config, tmp_path / "second", method)
    assert atlas_bytes(Path(atlas.path)) == atlas_bytes(tmp_path / "second")


@pytest.mark.parametrize("method", [INTEGRATED, SMOOTH, "grad_cam", RISE], ids=name_of)
def test_maps_do_not_depend_on_a_blocks_other_examples(
    method: Any, finished: MakeAtlas, make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = finished(method, "float32")
    # Blocks of 5 instead of 8: other mini-batches, other neighbours, other places in them.
    other = run(
        make_config, tmp_path / "other", method, output={"codec": "float32", "block_size": 5}
    )
    expected = {each.example_id: each.values.tobytes() for each in whole.maps()}
    assert {each.example_id: each.values.tobytes() for each in other.maps()} == expected


def test_a_resumed_atlas_has_an_undisturbed_ones_bytes(
    finished: MakeAtlas, make_config: MakeConfig, tmp_path: Path
) -> None:
    shutil.copytree(finished(SMOOTH).path, tmp_path / "atlas")
    expected = atlas_bytes(tmp_path / "atlas")
    for path in sorted((tmp_path / "atlas/maps").rglob("*.parquet"))[::2]:
        path.unlink()
    explain = {"batch_size": 3, "engine": "tensorflow", "method": SMOOTH}
    output = {"path": str(tmp_path / "atlas"), "block_size": 8}
    run_in_memory(make_config(explain=explain, output=output), "resume")
    assert atlas_bytes(tmp_path / "atlas") == expected


def test_an_example_that_the_model_refuses_costs_itself_alone(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    config = make_config(explain={"batch_size": 3, "engine": "tensorflow", "method": SMOOTH})
    prepared = prepare(config, LocalStorage(), "new")
    job, explainer = prepared.job, prepared.explainer
    block = next(iter(read_blocks(job.shards[1], job.source, job.inputs, 8, LocalStorage())))
    undisturbed = explainer.explain(block)
    program = explainer._programs.of_size(3)
    refused = explainer._decoder.decode(block.examples.inputs)[0][4]
    real = program.attribution.run

    def refusing(inputs: Any, labels: Any) -> Any:
        # Not at the input itself, but at a noisy copy of it.
        distances = np.abs(np.asarray(inputs) - refused).mean(axis=(1, 2, 3))
        if ((distances > 0) & (distances < 45)).any():
            raise tf.errors.InvalidArgumentError(None, None, "the model cannot take it")
        return real(inputs, labels)

    attribution = dataclasses.replace(program.attribution, run=refusing)
    monkeypatch.setitem(
        explainer._programs._by_size, 3, dataclasses.replace(program, attribution=attribution)
    )
    found = explainer.explain(block)
    assert [(each.record, each.error) for each in found.failures] == [(4, "ModelError")]
    kept = [row for row in range(8) if row != 4]
    assert found.table.equals(undisturbed.table.take(kept))


def test_show_draws_what_lowers_the_score_in_blue(finished: MakeAtlas, tmp_path: Path) -> None:
    atlas = finished("gradient_input")
    show(atlas.path, "1/3", str(tmp_path / "map.png"))
    with Image.open(tmp_path / "map.png") as image:
        pixels = np.asarray(image)
    panel = (pixels.shape[1] - 16) // 3
    values = atlas.map("1/3")
    np.testing.assert_array_equal(pixels[:, panel + 8 : 2 * panel + 8], draw(values, None))
    side = panel // SIDE
    for sign in (1, -1):
        y, x = np.unravel_index((sign * values).argmax(), values.shape)
        red, _, blue = draw(values, None)[y * side, x * side].astype(int)
        assert np.sign(red - blue) == sign


def test_only_maps_with_a_sign_have_a_share_of_it(make_config: MakeConfig, tmp_path: Path) -> None:
    atlas = run(make_config, tmp_path / "atlas", "saliency")
    names = [*atlas.table().column_names, *atlas.classes.column_names]
    assert not any("positive" in name for name in names)


def test_the_completeness_error_and_its_sum_are_stored(
    make_config: MakeConfig, tfrecords: Path, tmp_path: Path
) -> None:
    method = {"integrated_gradients": {"steps": 60}}
    source = make_config().as_dict()["source"] | {"pattern": f"{tfrecords}/data-2.tfrecord"}
    atlas = run(make_config, tmp_path / "atlas", method, source=source)
    errors = np.asarray(atlas.table(["completeness_error"])["completeness_error"])
    scores = np.asarray(atlas.table(["score"])["score"])
    assert np.abs(errors).max() < 0.02 * np.abs(scores).max()
    assert np.abs(errors).max() > 0
    path = next((tmp_path / "atlas/maps").rglob("*.parquet"))
    assert b"completeness_error" in path.read_bytes()


def test_a_plan_counts_calls_and_multiplies_by_them(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_made: list[int] = []
    keys = IntegratedGradientsMethod.keys

    def counted(method: IntegratedGradientsMethod, step: int, ids: Sequence[str]) -> Any:
        steps_made.append(step)
        return keys(method, step, ids)

    # Time passes with each step after the first call, and with nothing else.
    clock = types.SimpleNamespace(perf_counter=lambda: 1e-6 * len(steps_made))
    monkeypatch.setattr(IntegratedGradientsMethod, "keys", counted)
    monkeypatch.setattr("pipeline.commands.plan.time", clock)
    made = {
        steps: plan(
            make_config(
                explain={
                    "batch_size": 3,
                    "engine": "tensorflow",
                    "method": {"integrated_gradients": {"steps": steps}},
                }
            ),
            LocalStorage(),
        )
        for steps in (40, 4000)
    }
    assert {steps: each.calls for steps, each in made.items()} == {40: 40, 4000: 4000}
    rates = [made[steps].examples_per_second for steps in (40, 4000)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[0] / rates[1] == pytest.approx(3999 / 39)


def test_another_method_is_refused_on_resume(
    finished: MakeAtlas, make_config: MakeConfig, tmp_path: Path
) -> None:
    from transforms.errors import ConfigurationError

    shutil.copytree(finished(SMOOTH).path, tmp_path / "atlas")
    manifest = json.loads((tmp_path / "atlas/manifest.json").read_text())
    assert manifest["settings"]["explain"]["method"] == {
        "smoothgrad": {"samples": 3, "noise": 38.25, "seed": 1}
    }
    other = {"smoothgrad": {"samples": 3, "seed": 2}}
    explain = {"batch_size": 3, "engine": "tensorflow", "method": other}
    output = {"path": str(tmp_path / "atlas"), "block_size": 8}
    with pytest.raises(ConfigurationError, match=r"explain\.method\.smoothgrad\.seed"):
        run_in_memory(make_config(explain=explain, output=output), "resume")


def test_the_layer_that_is_explained_is_recorded_and_kept(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    from transforms.errors import ConfigurationError

    atlas = run(make_config, tmp_path / "atlas", "grad_cam")
    recorded = atlas.manifest["settings"]["explain"]
    assert recorded["layer"] is None
    layers = atlas.manifest["model"]["layers"]
    assert recorded["layer_path"] in layers
    first = next(each for each in layers if "conv" in each)
    explain = {"batch_size": 3, "engine": "tensorflow", "method": "grad_cam", "layer": first}
    output = {"path": str(tmp_path / "atlas"), "block_size": 8}
    config = make_config(explain=explain, output=output)
    with pytest.raises(ConfigurationError, match=r"explain\.layer: the atlas has None, this run"):
        run_in_memory(config, "resume")
    problems = verify(str(tmp_path / "atlas"), LocalStorage(), config)["problems"]
    assert any("explain.layer" in str(each) for each in problems)


def test_there_are_as_many_maps_as_targets(make_config: MakeConfig, tmp_path: Path) -> None:
    atlas = run(make_config, tmp_path / "atlas", SMOOTH, explain={"target": {"top": 2}})
    targets = np.asarray(atlas.table(["target"])["target"]).reshape(-1, 2)
    assert (targets[:, 0] != targets[:, 1]).all()
    assert targets.max() < CLASSES
