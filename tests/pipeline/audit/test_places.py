"""The indicator of places against a slow version written from its definition."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from simulated_atlas import GRID, fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.audit.groups import Groups
from pipeline.audit.shortcuts.candidates import CANDIDATE, Candidate, find_candidates
from pipeline.audit.shortcuts.gate import describe, judge_shortcuts
from pipeline.audit.shortcuts.place import indicate_places, presences
from pipeline.audit.shortcuts.shortcut import MaskEffect, Shortcut
from pipeline.config.audit_section import AuditSection
from transforms.errors import ConfigurationError
from transforms.statistics.groups.folds import folds_of
from transforms.store.layout import FOLDS

IMAGES = {"source": {"input": {"kind": "image"}}}
PLANTED, CELL = 2, 7
CELLS = GRID[0] * GRID[1]

Floats = npt.NDArray[np.float64]


def planted_atlas(root: Path, share: float = 1.0, n: int = 130, classes: int = 5) -> Atlas:
    """Classes whose maps are even but for chance; half of one class's mass is in a cell."""
    rows = fake_rows(classes, n, seed=4)
    random = np.random.default_rng(5)
    rows["sketch"] = random.dirichlet(np.full(CELLS, 20.0), classes * n)
    chosen = (rows["target"] == PLANTED) & (random.random(classes * n) < share)
    rows["sketch"][chosen] *= 0.5
    rows["sketch"][chosen, CELL] += 0.5
    return Atlas.open(write_atlas(root, rows, config=IMAGES))


def candidates(atlas: Atlas) -> list[Candidate]:
    return find_candidates(atlas, [indicate_places(atlas.folds)], 50)


def slow_indicator(atlas: Atlas) -> dict[int, tuple[int, float, set[tuple[int, int]]]]:
    """n, S1 and region of each class, cell by cell, from the sketches."""
    table = atlas.table(["example_id", "target", "sketch"])
    sums: dict[int, list[float]] = {}
    counts: dict[int, int] = {}
    for name, target, sketch in zip(
        table["example_id"].to_pylist(),
        table["target"].to_pylist(),
        table["sketch"].to_pylist(),
        strict=True,
    ):
        if folds_of([name])[0] % 2:
            continue
        counts[target] = counts.get(target, 0) + 1
        mass = [value / 2**24 for value in sketch]
        sums[target] = [a + b for a, b in zip(sums.get(target, [0.0] * CELLS), mass, strict=True)]
    logs = {c: [math.log(value / counts[c]) for value in total] for c, total in sums.items()}
    usual = [float(np.median([logs[c][cell] for c in logs])) for cell in range(CELLS)]
    found = {}
    for c, values in logs.items():
        above = [value - usual[cell] for cell, value in enumerate(values)]
        middle = float(np.median(above))
        r = {divmod(cell, GRID[1]): value - middle for cell, value in enumerate(above)}
        top = max(r, key=lambda place: r[place])
        region, todo = set(), [top]
        while todo:
            place = todo.pop()
            if place in region or place not in r or r[place] < r[top] - math.log(2):
                continue
            region.add(place)
            todo += [(place[0] + dy, place[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found[c] = (counts[c], r[top], region)
    return found


def test_the_indicator_is_what_its_definition_says(tmp_path: Path) -> None:
    atlas = planted_atlas(tmp_path / "atlas")
    places, slow = indicate_places(atlas.folds), slow_indicator(atlas)
    assert places.targets.tolist() == sorted(slow)
    for row, target in enumerate(places.targets.tolist()):
        n, score, region = slow[target]
        assert places.n[row] == n
        assert places.score[row] == pytest.approx(score, abs=1e-6)
        assert {tuple(cell) for cell in np.argwhere(places.regions[row]).tolist()} == region
    assert places.score[PLANTED] == pytest.approx(math.log(17), abs=0.3)
    assert np.delete(places.score, PLANTED).max() < 0.5


def test_the_planted_class_alone_is_a_candidate(tmp_path: Path) -> None:
    (found,) = candidates(planted_atlas(tmp_path / "atlas"))
    finding = found.finding
    assert (finding.class_number, finding.verdict) == (PLANTED, "candidate")
    row, column = divmod(CELL, GRID[1])
    assert finding.region == (row / 4, column / 4, (row + 1) / 4, (column + 1) / 4)
    assert finding.area == 1 / CELLS < CANDIDATE.area
    assert finding.presence == 1.0
    assert finding.q is None


def test_presence_is_the_share_of_maps_above_what_is_usual_elsewhere(tmp_path: Path) -> None:
    atlas = planted_atlas(tmp_path / "atlas", share=0.3)
    cells = np.zeros((1, *GRID), bool)
    cells[0].flat[CELL] = True
    table = atlas.table(["example_id", "target", "sketch"])
    half = folds_of(table["example_id"].to_pylist()) % 2 == 0
    mass = np.array(table["sketch"].to_pylist())[half, CELL] / 2**24
    own = np.array(table["target"].to_pylist())[half] == PLANTED
    slow = (mass[own] > np.quantile(mass[~own], 0.95)).mean()
    assert presences(atlas, [PLANTED], cells)[0] == pytest.approx(slow, abs=0.01)
    assert 0.2 < slow < 0.5


def test_few_maps_are_undecided(tmp_path: Path) -> None:
    (found,) = candidates(planted_atlas(tmp_path / "atlas", n=60))
    assert found.finding.n < 50
    assert found.finding.verdict == "undecided"


def test_two_classes_share_the_effect_between_them(tmp_path: Path) -> None:
    """The median over two classes is between them: each moves by half of the logarithm."""
    atlas = planted_atlas(tmp_path / "atlas", classes=3)
    whole = indicate_places(atlas.folds).score[PLANTED]
    rows = atlas.folds.filter(np.isin(atlas.folds["class"].to_numpy(), (0, PLANTED)))
    assert indicate_places(rows).score[1] == pytest.approx(whole / 2, abs=0.1)


def test_a_single_class_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    atlas = planted_atlas(tmp_path / "atlas")
    rows = atlas.folds.filter(atlas.folds["class"].to_numpy() == PLANTED)
    assert not len(indicate_places(rows).targets)


def test_an_atlas_without_folds_is_judged_by_what_it_has(tmp_path: Path) -> None:
    path = planted_atlas(tmp_path / "atlas").path
    (Path(path) / FOLDS).unlink()
    corners: dict[str, Any] = {"statistic": "corner_energy_mean", "below": 0.9}
    gates = AuditSection.model_validate({"gates": [corners]})
    assert audit(Atlas.open(path), gates).shortcuts == []
    shortcuts = AuditSection.model_validate({"gates": [corners, {"shortcut": "used"}]})
    with pytest.raises(ConfigurationError, match="saliency-atlas summarize makes it"):
        audit(Atlas.open(path), shortcuts)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"shortcut": "used", "below": 0.3}, "leave out below"),
        ({"shortcut": "used", "statistic": "drift"}, "leave out statistic"),
    ],
)
def test_a_gate_about_shortcuts_has_no_other_threshold(gate: dict[str, Any], said: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=said):
        AuditSection.model_validate({"gates": [gate]})


def test_shortcuts_of_a_slice_are_refused(tmp_path: Path) -> None:
    gate = {"shortcut": "used", "where": {"slice": "camera"}}
    with pytest.raises(ConfigurationError, match="shortcuts are of whole classes"):
        audit(planted_atlas(tmp_path / "atlas"), AuditSection.model_validate({"gates": [gate]}))


def test_tensors_have_no_places(tmp_path: Path) -> None:
    images = planted_atlas(tmp_path / "images")
    gates = [{"statistic": "corner_energy_mean", "below": 0.9}]
    section = AuditSection.model_validate({"gates": gates})
    assert len(audit(images, section).shortcuts) == 1
    config = {"source": {"input": {"kind": "tensor"}}}
    path = write_atlas(tmp_path / "atlas", fake_rows(3, 60), config=config)
    assert audit(Atlas.open(path), section).shortcuts == []
    used = AuditSection.model_validate({"gates": [{"name": "marks", "shortcut": "used"}]})
    with pytest.raises(ConfigurationError, match=r"gate 'marks': .* explains tensors: leave the"):
        audit(Atlas.open(path), used)


def test_one_class_has_no_others_to_differ_from(tmp_path: Path) -> None:
    config = {"source": {"input": {"kind": "image"}}}
    path = write_atlas(tmp_path / "atlas", fake_rows(1, 60), config=config)
    used = AuditSection.model_validate({"gates": [{"shortcut": "used"}]})
    with pytest.raises(ConfigurationError, match="fewer than two classes, so no shortcut can be"):
        audit(Atlas.open(path), used)


def shortcut(verdict: str, share: float | None = None) -> Shortcut:
    """Of class 1, with what masking took where it was tried."""
    mask = None
    if share is not None:
        mask = MaskEffect(
            n=60, margin=1.0, drop=share, control_drop=0.0, share=share, low=share, high=share,
            p=0.01, flips=0.5, control_flips=0.0, by_fill=None,
        )  # fmt: skip
    return Shortcut.model_validate(
        {
            "class": 1, "class_name": None, "indicator": "repeat", "statistic": "S2", "n": 60,
            "q": None, "effect": 0.9, "others": 0.2, "presence": 1.0, "region": None, "area": None,
            "verdict": verdict, "mask": mask, "transplant": None,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shortcuts", "verdict", "value"),
    [
        ([shortcut("used", 0.9), shortcut("cleared", 0.01)], "fail", 0.9),
        ([shortcut("cleared", 0.01), shortcut("used", 0.9), shortcut("used", 0.3)], "fail", 0.9),
        ([shortcut("candidate"), shortcut("cleared", 0.01)], "undecided", None),
        ([shortcut("cleared", 0.01), shortcut("cleared", 0.02)], "pass", 0.02),
        ([], "pass", None),
    ],
)
def test_a_class_is_judged_by_the_worst_of_its_shortcuts(
    tmp_path: Path, shortcuts: list[Shortcut], verdict: str, value: float | None
) -> None:
    section = AuditSection.model_validate({"gates": [{"shortcut": "used"}]})
    groups = Groups(planted_atlas(tmp_path / "atlas", classes=3).classes, None)
    maps = dict.fromkeys(range(3), 65)
    found = judge_shortcuts(
        section.gates[0], groups, shortcuts, section, datetime.date.min, maps=maps
    )
    assert [each.verdict for each in found] == ["pass", verdict, "pass"]
    assert found[1].value == value


def test_a_class_of_few_maps_is_not_free_of_shortcuts(tmp_path: Path) -> None:
    """Of class 0 half a has 49 maps; of class 2 none, as all of its maps are zero."""
    section = AuditSection.model_validate({"gates": [{"shortcut": "used"}]})
    groups = Groups(planted_atlas(tmp_path / "atlas", classes=4).classes, None)
    maps = {0: 49, 1: 49, 3: 50}
    found = judge_shortcuts(
        section.gates[0], groups, [shortcut("used", 0.9)], section, datetime.date.min, maps=maps
    )
    assert [each.verdict for each in found] == ["undecided", "fail", "undecided", "pass"]
    assert [each.n for each in found] == [49, 60, 0, 50]
    assert found[0].note == (
        "49 maps that are not all zero in the half that candidates are found in, fewer than "
        "audit.min_n, 50"
    )


def test_an_audit_counts_the_maps_that_candidates_are_found_in(tmp_path: Path) -> None:
    atlas = planted_atlas(tmp_path / "atlas", classes=3)
    names = atlas.table(["example_id", "target"])
    even = np.array(folds_of(names["example_id"].to_pylist())) % 2 == 0
    counts = np.bincount(names["target"].to_numpy()[even], minlength=3)
    for more, verdict in ((0, "pass"), (1, "undecided")):
        section = {"gates": [{"shortcut": "used"}], "min_n": int(counts[0]) + more}
        found = audit(atlas, AuditSection.model_validate(section)).gates
        assert (found[0].verdict, found[0].n) == (verdict, counts[0])


def test_an_experiment_that_decides_nothing_says_why() -> None:
    few, none = shortcut("candidate", 0.4), shortcut("candidate", 0.4)
    assert few.mask is not None
    assert "; 40 images decide nothing, it takes 50" in describe(
        few.model_copy(update={"mask": few.mask.model_copy(update={"n": 40})})
    )
    unknown = {"recognised": 0, "share": None, "low": None, "high": None}
    said = describe(none.model_copy(update={"mask": few.mask.model_copy(update=unknown)}))
    assert "masked at the peak, 50% of 60 images change class, masked elsewhere 0%" in said
    assert "the model recognises 0 of 60 images, and fewer than 10 decide nothing" in said
    assert (
        "it takes 40% (40% to 40%) of the class's margin more than masking elsewhere"
        in describe(few)
    )
    untried = shortcut("candidate").not_tried("it has no images")
    assert describe(untried).endswith("; not tried on the model: it has no images")
    assert describe(shortcut("candidate")).endswith("; --confirm tries it on the model")
