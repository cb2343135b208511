"""What `scripts/calibrate` plants, decides and publishes; that it makes models `--quick` shows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration import calibrate
from calibration.kinds import KINDS, PLANTED, make_scene
from calibration.outcomes import HEADINGS, Found, Outcome, Rate, alarms, is_found, is_placed, table
from calibration.power import draw

SCRIPTS = Path(__file__).parents[2] / "scripts"


def tried(target: int, indicator: str, share: float, **more: Any) -> dict[str, Any]:
    """A class that was tried, of whose median margin masking took such a share."""
    mask = {
        "n": 70, "recognised": 60, "margin": 1.0, "drop": share, "control_drop": 0.0,
        "share": share, "low": share - 0.02, "high": share + 0.02, "p": 1e-4, "flips": 0.5,
        "control_flips": 0.0, "by_fill": {"mean": share, "blur": share, "donor": share},
    }  # fmt: skip
    transplant = {
        "n": 70, "rise": 1.0, "control_rise": 0.0, "moved": 0.4, "control_moved": 0.0,
        "low": 0.3, "high": 0.5, "p": 1e-4,
    }  # fmt: skip
    is_place = indicator == "place"
    finding = {
        "class": target, "class_name": None, "indicator": indicator,
        "statistic": "S1" if is_place else "S2", "n": 70, "q": None, "effect": 2.5,
        "others": 0.8, "presence": 0.9, "region": (0.0, 0.0, 0.2, 0.2) if is_place else None,
        "area": 0.04 if is_place else None, "verdict": "candidate", "mask": mask,
        "transplant": transplant,
    }  # fmt: skip
    return {"finding": {**finding, **more}, "on_mark": True if is_place else None}


def line(**more: Any) -> dict[str, Any]:
    """Ten classes; one stands out by its place, another by what repeats; a third was proposed."""
    places, repeats = [0.3 + 0.05 * row for row in range(10)], [0.02 * row for row in range(10)]
    places[PLANTED], repeats[4] = 2.5, 0.7
    return {
        "kind": "mark, 100 %", "seed": 3, "classes": 10, "drop": 0.6,
        "scores": [
            {"kind": "place", "statistic": "S1", "score": places, "areas": [0.03] * 10},
            {"kind": "repeat", "statistic": "S2", "score": repeats, "areas": None},
        ],
        "tried": [
            tried(PLANTED, "place", 0.8),
            tried(4, "repeat", 0.01),
            tried(7, "place", 0.9),  # it does not stand out
        ],
        "proposed": [
            {**tried(2, "place", 0.5), "screened": {"taken": 0.8, "margin": 1.0}},
            {**tried(5, "place", 0.25), "screened": {"taken": 0.1, "margin": 0.2}},
            {**tried(6, "repeat", 0.5), "screened": None},
        ],
        **more,
    }  # fmt: skip


def test_figures_become_candidates_and_verdicts() -> None:
    outcome = Outcome.of(line())
    assert outcome.found == (
        Found(PLANTED, "place", "portable", True),
        Found(2, "place", "portable", True),
        Found(4, "repeat", "cleared", None),
    )
    assert outcome.counts
    assert is_found(outcome, "place", used=True)
    assert not is_found(outcome, "repeat")
    assert is_placed(outcome)
    aside = {**tried(PLANTED, "place", 0.8), "on_mark": False}
    assert not is_placed(Outcome.of(line(tried=[aside])))
    assert alarms(outcome, used=True)  # of the class that was proposed
    assert not alarms(Outcome.of(line(proposed=[])), used=True)
    faint = tried(PLANTED, "place", 0.8, presence=0.5)
    assert Outcome.of(line(tried=[faint], proposed=[])).found == ()
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


def test_a_clean_model_has_no_class_that_may_be_used() -> None:
    clean = Outcome.of(line(kind="clean", drop=None))
    assert alarms(clean, used=True)
    assert clean.counts
    assert not Outcome.of(line(drop=0.19)).counts


def test_a_twin_is_known_by_not_having_a_tint() -> None:
    for kind, target, is_alarm in (("tint", 1, False), ("tint", 2, True), ("mark, 100 %", 1, True)):
        found = Found(target, "property", "portable", None)
        assert alarms(Outcome(kind, 0, 10, 0.9, (found,)), used=True) == is_alarm


def test_rates_have_wilsons_interval() -> None:
    z, n, k = 1.959964, 20, 18
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    expected = f"18 of 20 ({100 * (centre - reach):.0f} to {100 * (centre + reach):.0f} %)"
    assert str(Rate(18, 20)) == expected
    assert str(Rate(0, 0)) == "none"


def test_every_kind_has_its_share_wherever_one_stops() -> None:
    planned = list(calibrate.plan())
    assert len(planned) == len(set(planned)) == 160 + 20 * (len(KINDS) - 1)
    some = planned[: 5 * (8 + len(KINDS) - 1)]
    assert [name for name, _ in some].count("clean") == 40
    assert all([name for name, _ in some].count(name) == 5 for name in KINDS if name != "clean")


def test_a_line_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "models.jsonl"
    path.write_text(json.dumps(line()) + '\n{"kind": "cle')
    assert [each["seed"] for each in calibrate.read_lines(path)] == [3]
    assert calibrate.read_lines(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("name", "seed", "classes"), [("mark, 30 %", 2, 4), ("mark anywhere, 50 %", 6, 2)]
)
def test_a_mark_is_in_its_share_of_one_classs_images(name: str, seed: int, classes: int) -> None:
    kind = KINDS[name]
    scene, again = make_scene(kind, seed), make_scene(kind, seed)
    assert scene.classes == classes
    np.testing.assert_array_equal(scene.audited.pixels, again.audited.pixels)
    own = scene.audited.pixels[scene.audited.labels == PLANTED]
    changed = (own != scene.without).any(axis=(1, 2, 3))
    assert changed.sum() == round(kind.share * len(own))
    assert scene.planted is not None
    assert (scene.planted != scene.without).any(axis=(1, 2, 3)).all()
    if scene.mark is not None:
        top, left, side = scene.mark
        where = (own != scene.without).any(axis=(0, 3))
        assert where[top : top + side, left : left + side].mean() > 0.9
        assert where.sum() == where[top : top + side, left : left + side].sum()


def test_hard_negatives_are_what_they_are_called() -> None:
    unused = make_scene(KINDS["mark, not used"], 2)
    assert unused.planted is None
    assert unused.mark is not None
    own = unused.audited.pixels[unused.audited.labels == PLANTED]
    assert (own != unused.without).any(axis=(1, 2, 3)).all()
    boxed = make_scene(KINDS["letterboxes"], 2)
    assert not boxed.audited.pixels[:, :4].any()
    assert not boxed.trained.pixels[:, -4:].any()


def published() -> list[Outcome]:
    models = json.loads((SCRIPTS / "calibration" / calibrate.RESULTS).read_text())
    return [Outcome.from_json(each) for each in models]


@pytest.mark.parametrize("part", ["odd", "all"])
def test_the_tables_of_the_documentation_are_those_of_the_models(part: str) -> None:
    outcomes = [each for each in published() if part == "all" or each.seed % 2]
    rows = [f"| {name} | {' | '.join(row)} |" for name, row in table(outcomes).items()]
    text = (SCRIPTS / "README.md").read_text()
    assert f"| | {' | '.join(HEADINGS)} |" in text
    assert "\n".join(rows) in text


def test_the_picture_is_that_of_the_models() -> None:
    drawn = draw(published())
    assert drawn == (SCRIPTS / "calibration" / "power.svg").read_text()
    assert len(re.findall("<circle", drawn)) >= 6
