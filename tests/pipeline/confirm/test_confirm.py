"""A model that recognises a class by a corner: from its atlas to a failed gate."""

from __future__ import annotations

import collections
import copy
import dataclasses
import io
import itertools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import junitparser
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.audit.shortcuts.candidates import Candidate, find_candidates
from pipeline.audit.shortcuts.gate import describe
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.properties import ALIKE
from pipeline.audit.shortcuts.proposals import propose
from pipeline.audit.shortcuts.trying import worth_trying
from pipeline.config.keys import Config
from pipeline.confirm import confirm, counterparts
from pipeline.confirm.selection import (
    choose_examples,
    choose_for_screening,
    choose_labelled,
    peak_masks,
)
from pipeline.rereading import Place, read_inputs
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.peak_windows import peak_square

SIDE, CLASSES, PER_CLASS = 24, 4, 130
MARKED = 3
CORNER = slice(0, 6), slice(18, 24)  # a cell of the grid of 4 x 4


def _images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Noise; a class is the channel that is brighter, the last one a white corner."""
    random = np.random.default_rng(6)
    labels = np.arange(CLASSES * PER_CLASS) % CLASSES
    pixels = random.integers(0, 120, (len(labels), SIDE, SIDE, 3))
    for channel in range(3):
        pixels[labels == channel, ..., channel] += 60
    pixels[labels == MARKED, CORNER[0], CORNER[1]] = 255
    return pixels.astype(np.uint8), labels


def _save_model(path: Path) -> None:
    """Logits: the mean of a channel, and of a corner, times ten."""
    import keras

    weights = np.zeros((SIDE, SIDE, 3, CLASSES), np.float32)
    for channel in range(3):
        weights[..., channel, channel] = 10 / SIDE**2
    weights[CORNER[0], CORNER[1], :, MARKED] = 10 / (36 * 3)
    flat = weights.reshape(-1, CLASSES)
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    model.layers[-1].set_weights([flat, np.array([0, 0, 0, -3], np.float32)])
    model.save(path)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("marked")
    pixels, labels = _images()
    for number in range(2):
        rows = []
        for index in range(number, len(labels), 2):
            encoded = io.BytesIO()
            Image.fromarray(pixels[index]).save(encoded, "PNG")
            rows.append(
                {"id": f"image-{index}", "image": encoded.getvalue(), "label": int(labels[index])}
            )
        pq.write_table(pa.Table.from_pylist(rows), root / f"part-{number}.parquet")
    _save_model(root / "model.keras")
    made = Config.from_dict(
        {
            "source": {
                "pattern": str(root / "*.parquet"),
                "format": "parquet",
                "features": {"id": "id", "input": "image", "label": "label"},
                "input": {"kind": "image", "shape": [SIDE, SIDE, 3], "scale": "unit"},
            },
            "model": {"uri": str(root / "model.keras")},
            "explain": {"engine": "tensorflow", "batch_size": 64},
            "output": {"path": str(root / "atlas"), "block_size": 50},
            "statistics": {"sketch": [4, 4]},
        }
    )
    run_in_memory(made)
    return made


def _audit(config: Config, tmp_path: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    gates = tmp_path / "audit.yaml"
    gates.write_text("audit: {gates: [{name: shortcuts, shortcut: used}]}\n")
    folder = tmp_path / "audit"
    code = cli.main(
        ["audit", config.output.path, "--config", str(gates), "--output", str(folder), *flags]
    )
    result: dict[str, Any] = json.loads((folder / "audit.json").read_text())
    return code, result


def test_a_candidate_alone_fails_nothing(config: Config, tmp_path: Path) -> None:
    code, result = _audit(config, tmp_path)
    assert (code, result["verdict"]) == (0, "undecided")
    (shortcut,) = result["shortcuts"]
    assert (shortcut["class"], shortcut["verdict"]) == (MARKED, "candidate")
    assert shortcut["region"] == [0.0, 0.75, 0.25, 1.0]
    assert shortcut["mask"] is shortcut["transplant"] is None
    verdicts = {each["class"]: each["verdict"] for each in result["gates"]}
    assert verdicts == {0: "pass", 1: "pass", 2: "pass", MARKED: "undecided"}
    assert not (tmp_path / "audit" / "BLESSED").exists()


def test_a_shortcut_that_is_used_fails_the_gate(config: Config, tmp_path: Path) -> None:
    code, result = _audit(config, tmp_path, "--confirm")
    assert (code, result["verdict"]) == (1, "fail")
    (shortcut,) = result["shortcuts"]
    assert shortcut["verdict"] == "portable"
    mask, transplant = shortcut["mask"], shortcut["transplant"]
    own = [place for place in _half_b(config) if int(place.example_id[6:]) % CLASSES == MARKED]
    assert mask["n"] == len(own) >= 50
    # The corner is white and gives 10 - 3; a channel's mean, the corner in it, is 72 of 255.
    assert mask["margin"] == pytest.approx(7 - 2.85, abs=0.1)
    assert mask["share"] > 1
    assert mask["control_drop"] == pytest.approx(0, abs=0.2)
    assert (transplant["moved"], transplant["control_moved"]) == (1.0, 0.0)
    (failed,) = [each for each in result["gates"] if each["verdict"] == "fail"]
    assert (failed["class"], failed["value"]) == (MARKED, mask["share"])
    assert "pasted into other classes' images it turns 100% into this class" in failed["note"]
    report = junitparser.JUnitXml.fromfile(str(tmp_path / "audit" / "junit.xml"))
    assert (report.tests, report.failures, report.skipped) == (4, 1, 0)
    assert "### Shortcuts" in (tmp_path / "audit" / "summary.md").read_text()
    looked_into = {each["class"]: each for each in result["proposals"]}
    assert set(looked_into) == set(range(CLASSES))
    outcomes = collections.Counter(each["outcome"] for each in result["proposals"])
    assert outcomes == {"needless": 1, "passed_over": 3, "untried": 16}
    assert (tmp_path / "audit" / "NOT_BLESSED").exists()


def _half_b(config: Config) -> list[Place]:
    atlas = Atlas.open(config.output.path)
    chosen = choose_examples(atlas, MARKED, 10_000)
    return [*chosen.own, *chosen.others]


def test_only_half_b_is_chosen_and_a_sample_is_a_prefix(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    every = _half_b(config)
    ids = [f"image-{number}" for number in range(CLASSES * PER_CLASS)]
    odd = {name for name, fold in zip(ids, folds_of(ids).tolist(), strict=True) if fold % 2}
    assert {place.example_id for place in every} == odd
    some = choose_examples(atlas, MARKED, 7)
    assert some.own == choose_examples(atlas, MARKED, 10_000).own[:7]


def test_inputs_are_read_again_by_their_places(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    places = _half_b(config)[::9]
    found = dict(read_inputs(config, atlas.shards, places, BeamStorage()))
    pixels, _ = _images()
    assert set(found) == set(places)
    for place, image in found.items():
        np.testing.assert_array_equal(image, pixels[int(place.example_id[6:])])


def test_a_record_that_is_another_by_now_is_left_out(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    right, wrong = _half_b(config)[:2]
    renamed = Place(wrong.folder, wrong.record, "another")
    found = dict(read_inputs(config, atlas.shards, [right, renamed], BeamStorage()))
    assert set(found) == {right}


def test_examples_that_are_gone_are_told(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    atlas = Atlas.open(config.output.path)
    (candidate,) = find_candidates(atlas, indicators(atlas), 50)
    chosen = choose_examples(atlas, MARKED, 100)
    renamed = [dataclasses.replace(place, example_id="another") for place in chosen.own[:5]]
    changed = dataclasses.replace(chosen, own=(*renamed, *chosen.own[5:]))
    monkeypatch.setattr(confirm, "choose_examples", lambda *_: changed)
    found = confirm.Confirmer(atlas, BeamStorage(), 0.1, 0.95).confirm(candidate)
    assert found.mask is not None
    assert found.mask.n == len(chosen.own) - 5
    assert "5 of 162 examples are not in the input files any more" in caplog.text


def _placeless(atlas: Atlas, indicator: str) -> Candidate:
    """The marked class as another indicator would have found it."""
    (candidate,) = find_candidates(atlas, indicators(atlas), 50)
    other = {"indicator": indicator, "region": None, "area": None}
    return Candidate(candidate.finding.model_copy(update=other), None)


def test_what_repeats_is_masked_where_each_map_peaks(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    own = choose_examples(atlas, MARKED, 100).own
    masks = peak_masks(atlas, own)
    assert list(masks) == sorted(masks)  # by file and record
    for place, mask in masks.items():
        name = f"{place.folder}:{place.record}"
        np.testing.assert_array_equal(mask, peak_square(atlas.map(name, MARKED)))
    # The square of 11 in the corner, where the only pixels are that the class's output takes in.
    assert all(mask[:11, 13:].all() and mask.sum() == 121 for mask in masks.values())
    found = confirm.Confirmer(atlas, BeamStorage(), 0.1, 0.95).confirm(_placeless(atlas, "repeat"))
    assert (found.verdict, found.region) == ("portable", None)
    assert found.mask is not None
    assert found.mask.n == len(own)


def test_a_property_is_tried_with_images_of_half_b(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = Atlas.open(config.output.path)
    finding = _placeless(atlas, "property").finding.model_copy(update={"class_number": 0})
    confirmer = confirm.Confirmer(atlas, BeamStorage(), 0.1, 0.95)
    # Classes 0, 1 and 2 are noise with another brighter channel: colours are all that they have.
    tint = finding.model_copy(update={"statistic": "saturation"})
    # Of a channel that is half as bright noise is half as strong: they are not alike in all else.
    untried = confirmer.confirm(Candidate(tint, None))
    assert untried.untried is not None
    assert untried.untried.startswith("each other class differs from it in more than that")
    assert untried == tint.not_tried(untried.untried)
    monkeypatch.setattr(counterparts, "_FAR", np.inf)
    found = confirmer.confirm(Candidate(tint, None))
    assert found.counterpart in (1, 2)
    assert found.verdict == "candidate"
    assert found.counterpart_distance is not None
    assert found.counterpart_distance > ALIKE
    assert f"class {found.counterpart} differs in more than that" in describe(found)
    assert found.mask is not None
    assert found.transplant is not None
    sizes = [len(choose_labelled(atlas, label, 100)) for label in (0, found.counterpart)]
    assert found.mask.n == found.transplant.n == min(sizes) >= 50
    assert (found.mask.flips, found.transplant.moved) == (1, 1)
    size = finding.model_copy(update={"statistic": "input_width"})
    sized = confirmer.confirm(Candidate(size, None))
    assert sized == size.not_tried("how large a file's image was cannot be changed")


def test_outputs_that_are_no_scores_of_classes_have_no_margin(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    document = {**atlas.manifest, "config": {**atlas.manifest["config"]}}
    document["config"]["explain"] = {**document["config"]["explain"], "operator": "regression"}
    other = mock.Mock(spec=Atlas, path=atlas.path, manifest=document)
    with pytest.raises(ConfigurationError, match="other outputs than scores of classes"):
        confirm.Confirmer(other, BeamStorage(), 0.1, 0.95)


def test_without_labels_no_image_is_known_to_be_of_a_class(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    document = copy.deepcopy(atlas.manifest)
    document["config"]["source"]["features"]["label"] = None
    document["config"]["explain"]["target"] = "predicted"
    other = mock.Mock(spec=Atlas, path=atlas.path, manifest=document)
    with pytest.raises(ConfigurationError, match=r"has no labels .* audit it without --confirm"):
        confirm.Confirmer(other, BeamStorage(), 0.1, 0.95)


def test_of_proposals_only_those_of_the_marked_class_are_worth_trying(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    confirmer = confirm.Confirmer(atlas, BeamStorage(), 0.1, 0.95)
    proposals = propose(atlas, indicators(atlas), 50)
    assert {each.finding.class_number for each in proposals} == set(range(CLASSES))
    screened = [confirmer.screen(each) for each in proposals]
    worth = itertools.compress(proposals, worth_trying(proposals, screened))
    tried = [confirmer.confirm(each) for each in worth if each.finding.indicator != "property"]
    assert {found.class_number for found in tried} == {MARKED}
    assert {found.indicator for found in tried} == {"place"}  # no other class has peaks
    assert all(found.verdict == "portable" for found in tried)


def test_proposals_are_screened_by_recognised_examples_of_half_a(config: Config) -> None:
    atlas = Atlas.open(config.output.path)
    table = atlas.table(["example_id", "label", "predicted"])
    names = table["example_id"].to_pylist()
    known = table["label"].to_numpy() == table["predicted"].to_numpy()
    is_one = (folds_of(names) % 2 == 0) & known & (table["label"].to_numpy() == 1)
    found = choose_for_screening(atlas, 1, 10_000)
    assert {place.example_id for place in found} == set(np.array(names)[is_one].tolist())
    assert choose_for_screening(atlas, 1, 5) == found[:5]
