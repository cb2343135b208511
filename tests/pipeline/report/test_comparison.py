"""The section that holds an atlas against a baseline: its figures, and why there is none."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reported_atlas import PLANTED, Fake, write_atlas

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.compare.compare import compare
from pipeline.compare.relation import relate
from pipeline.report import write
from pipeline.report.comparison.section import ComparisonSection, compare_with
from pipeline.report.drawing.maps import maps_of

NAMES = [f"kind {number}" for number in range(10)]
NOW, BEFORE = Fake(names=NAMES, examples=12), Fake(names=NAMES, examples=12, model="second")
Pair = tuple[Atlas, Atlas]
Make = Callable[..., Pair]


def write_pair(folder: Path, now: Fake = NOW, before: Fake = BEFORE) -> Pair:
    for name, fake in (("now", now), ("before", before)):
        write_atlas(folder / name, fake)
    return Atlas.open(str(folder / "now")), Atlas.open(str(folder / "before"))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes an atlas and its baseline."""
    return functools.partial(write_pair, tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """An atlas and a baseline of another model."""
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def section(pair: Pair) -> ComparisonSection:
    """What is said of them."""
    return compared(*pair)


def compared(atlas: Atlas, baseline: Atlas) -> ComparisonSection:
    return compare_with(atlas, baseline, maps_of(atlas.manifest, atlas.feature_names))


def page_of(atlas: Atlas, baseline: Atlas) -> str:
    path = f"{atlas.path}.html"
    write(atlas, path, baseline)
    page = Path(path).read_text()
    (section,) = re.findall(r'<section id="compared".*?</section>', page, re.S)
    return str(section)


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_figures_are_those_of_the_comparison(pair: Pair, section: ComparisonSection) -> None:
    atlas, baseline = pair
    found = compare(relate(baseline, atlas)).joined
    assert found is not None
    said = dict(section.facts)
    assert said["examples in both"] == "120"
    assert said["order of pixels kept"].startswith(f"{found.spearman.mean.value:.2f} (")
    flips = found.predictions.flips
    assert said["predictions changed"].startswith(f"{round(100 * flips / 120)}% (")
    assert section.classes[0].name == f"kind {PLANTED}"
    assert len(section.classes) == 10
    assert sum(each.count for each in section.flips) <= flips
    since = str(section.since)
    assert since.startswith("Since the baseline <bdi>before</bdi> (the same data and another model")
    assert f"maps moved most in <em><bdi>kind {PLANTED}</bdi></em>." in since
    assert section.differences == (("model", "/made-up/second.keras, now /made-up/first.keras"),)


def test_a_class_has_both_mean_maps_and_where_they_differ(section: ComparisonSection) -> None:
    (planted,) = [each for each in section.classes if each.name == f"kind {PLANTED}"]
    addresses = [planted.before, planted.now, planted.difference]
    before, now, difference = (_pixels(address) for address in addresses)
    # The baseline's model looks at the top left, the atlas's at the top right.
    assert before[0, 0, :2].sum() > before[0, -1, :2].sum()
    assert now[0, -1, :2].sum() > now[0, 0, :2].sum()
    red, blue = difference[0, -1], difference[0, 0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert (difference[8, 8] > 200).all()
    assert planted.before is not None
    assert "kind 1, before: most saliency top left corner, " in planted.before
    assert planted.now is not None
    assert "kind 1, now: most saliency top right corner, " in planted.now


def _pixels(drawn: str | None) -> Any:
    assert drawn is not None
    data = base64.b64decode(drawn.partition("base64,")[2].partition('"')[0])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), np.int64)[..., :3]


def test_examples_have_both_of_their_maps(pair: Pair, section: ComparisonSection) -> None:
    atlas, baseline = pair
    assert len(section.examples) == 12
    for both in section.examples:
        name, target = both.example.example_id, both.example.class_number
        assert target == PLANTED
        for plane, of in ((both.before, baseline), (both.now, atlas)):
            expected = of.map(name, target).astype(np.float64)
            np.testing.assert_allclose(plane, expected / expected.mean(), rtol=1e-5)
        assert both.thumbnail == atlas.thumbnail(name)
    page = page_of(atlas, baseline)
    assert page.count('<figure class="exemplar">') == 12
    assert page.count('aria-label="Input of ') == 12


def test_without_thumbnails_there_are_maps_alone(make: Make) -> None:
    small: dict[str, Any] = {"thumbnails": False, "kind": "tensor", "shape": (16,), "sketch": (16,)}
    page = page_of(*make(*(dataclasses.replace(each, **small) for each in (NOW, BEFORE))))
    assert "each as map before, map now" in text_of(page)
    assert "Input of" not in page


@pytest.mark.parametrize(
    ("shape", "sketch", "chart"), [((16,), (16,), "bars"), ((90, 3), (16, 6), "lines")]
)
def test_maps_of_tensors_are_drawn_as_elsewhere(
    make: Make, shape: tuple[int, ...], sketch: tuple[int, ...], chart: str
) -> None:
    tensors: dict[str, Any] = {"kind": "tensor", "shape": shape, "sketch": sketch}
    pair = make(*(dataclasses.replace(each, **tensors, thumbnails=False) for each in (NOW, BEFORE)))
    page = page_of(*pair)
    assert "<img" not in page
    assert "base64" not in page
    assert "difference" not in text_of(page).lower()
    said = re.findall(rf'<svg class="chart {chart}"[^>]*aria-label="([^"]*)"', page)
    classes = [f"Mean map of kind {n}, {when}" for n in range(10) for when in ("before", "now")]
    titles = [each.partition(": ")[0] for each in said]
    assert sorted(each for each in titles if each.startswith("Mean")) == sorted(classes)
    assert sum(each.endswith((" before", " now")) for each in titles) == 2 * 12 + len(classes)


def test_other_data_are_compared_as_groups(make: Make) -> None:
    page = text_of(page_of(*make(before=dataclasses.replace(NOW, folder="/elsewhere"))))
    assert "beside it, this atlas has the same model and other data" in page
    assert "120 in the baseline, now 120" in page
    assert "drift of the mean map under 0.001 bits" in page
    assert "(effect +0.0, \u22120.9 to +0.9)" in page
    assert "Examples that moved most" not in page


def test_nothing_that_moved_is_said_so(make: Make) -> None:
    section = compared(*make(before=NOW))
    assert "no map and no prediction moved" in section.since
    assert section.flips == ()


def test_maps_that_cannot_be_compared_are_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    atlas, baseline = make(before=NOW)
    found = compare(relate(baseline, atlas))
    assert found.joined is not None
    joined = found.joined.model_copy(update={"undefined": 3})
    changed = found.model_copy(update={"joined": joined})
    monkeypatch.setattr("pipeline.report.comparison.section.compare", lambda _: changed)
    section = compared(atlas, baseline)
    assert section.since.endswith("3 pairs of maps cannot be compared.")
    assert ("pairs with a map that is the same everywhere", "3") in section.facts
    assert "moved" not in section.since


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (
            dataclasses.replace(BEFORE, names=["other", *NAMES[1:]]),
            "class 0 is 'other' in one and 'kind 0' in the other; make both with the same",
        ),
        (dataclasses.replace(BEFORE, status="incomplete"), "before is incomplete: complete it"),
        (dataclasses.replace(BEFORE, kind="tensor"), "one explains tensors, the other images"),
    ],
)
def test_a_baseline_that_does_not_compare_is_said_in_the_section(
    make: Make, before: Fake, said: str
) -> None:
    atlas, baseline = make(before=before)
    page = page_of(atlas, baseline)
    assert 'class="warning"' in page
    assert "There is no comparison with before : " in text_of(page)
    assert said in text_of(page)
    whole = Path(f"{atlas.path}.html").read_text()
    assert "It does not compare with the baseline" in whole
    assert "kind 1" in whole


def test_an_atlas_that_is_not_finished_has_no_comparison(make: Make) -> None:
    atlas, baseline = make(now=dataclasses.replace(NOW, status="incomplete"))
    assert "now is incomplete: complete it" in text_of(page_of(atlas, baseline))


def test_the_command_takes_a_baseline(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    atlas, baseline = pair
    output = f"{atlas.path}/report.html"
    assert cli.main(["report", atlas.path, "--baseline", baseline.path]) == 0
    assert "Compared with the baseline" in Path(output).read_text()
    assert cli.main(["report", atlas.path]) == 0
    assert "Compared with the baseline" not in Path(output).read_text()
    capsys.readouterr()
    assert cli.main(["report", atlas.path, "--baseline", f"{atlas.path}/nowhere"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {atlas.path}/nowhere is no atlas")
