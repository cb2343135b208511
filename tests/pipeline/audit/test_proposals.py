"""What is proposed though nothing stands out, and what becomes of it once it was tried."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from simulated_atlas import GRID, fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.audit.files.markdown import proposals_sentence, summary_markdown
from pipeline.audit.result import AuditResult
from pipeline.audit.shortcuts import proposals
from pipeline.audit.shortcuts.candidates import Candidate, find_candidates
from pipeline.audit.shortcuts.gate import describe
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.place import indicate_places
from pipeline.audit.shortcuts.proposals import propose, windows
from pipeline.audit.shortcuts.shortcut import MaskEffect, Shortcut, TransplantEffect
from pipeline.audit.shortcuts.trying import (
    Screened,
    convinces,
    raises_question,
    try_all,
    worth_trying,
)
from pipeline.config.audit_section import AuditSection

IMAGES = {"source": {"input": {"kind": "image"}}}
MARKED, CELL = 1, 13
CELLS = GRID[0] * GRID[1]

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Two classes whose maps point to the same cell in half of the images: no class stands out."""
    rows = fake_rows(2, 130, seed=4)
    random = np.random.default_rng(5)
    rows["sketch"] = random.dirichlet(np.full(CELLS, 20.0), 260)
    chosen = random.random(260) < 0.5
    rows["sketch"][chosen] *= 0.5
    rows["sketch"][chosen, CELL] += 0.5
    return Atlas.open(write_atlas(tmp_path_factory.mktemp("atlas") / "atlas", rows, config=IMAGES))


def test_a_place_is_proposed_though_two_classes_share_it(binary: Atlas) -> None:
    scores = indicators(binary)
    assert find_candidates(binary, scores, 50) == []
    proposed = propose(binary, scores, 50)
    row, column = divmod(CELL, GRID[1])
    own = (row / 4, column / 4, (row + 1) / 4, (column + 1) / 4)
    for target in (0, 1):
        regions = [e.finding.region for e in proposed if e.finding.class_number == target]
        assert own in regions
        assert len(regions) == len(set(regions)) <= 2
    assert not any(each.stands_out for each in proposed)
    assert propose(binary, scores, 131) == []


def test_of_many_classes_the_first_are_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "MOST_CLASSES", 2)
    rows = fake_rows(4, 110, seed=4)
    path = write_atlas(tmp_path / "atlas", rows, config=IMAGES)
    atlas = Atlas.open(path)
    scores = indicate_places(atlas.folds)
    first = sorted(np.argsort(-scores.score)[:2].tolist())
    found = {each.finding.class_number for each in propose(atlas, [scores], 10)}
    assert sorted(found) == first


class Maps:
    """Mean maps of classes as `statistics/folds.parquet` has them."""

    def __init__(self, means: Floats) -> None:
        tensor = pa.fixed_shape_tensor(pa.float64(), means.shape[1:])
        flat = pa.array(means.reshape(-1))
        storage = pa.FixedSizeListArray.from_arrays(flat, means[0].size)
        self.folds = pa.table(
            {
                "class": pa.array(range(len(means)), pa.int32()),
                "fold": pa.array([0] * len(means), pa.int32()),
                "n": [60] * len(means),
                "mean_map": pa.ExtensionArray.from_storage(tensor, storage),
            }
        )


def test_windows_are_what_their_definition_says() -> None:
    means = np.random.default_rng(2).dirichlet(np.ones(15 * 21), 5).reshape(5, 15, 21)
    maps = Maps(means)
    own, unusual = windows(maps, indicate_places(maps.folds))  # type: ignore[arg-type]
    corners = list(itertools.product(range(15 - 2 + 1), range(21 - 3 + 1)))  # 2 x 3 cells
    logs = {
        (c, y, x): math.log(means[c, y : y + 2, x : x + 3].mean())
        for c in range(5)
        for y, x in corners
    }
    usual = {(y, x): float(np.median([logs[c, y, x] for c in range(5)])) for y, x in corners}
    for c in range(5):
        above = {(y, x): logs[c, y, x] - usual[y, x] for y, x in corners}
        middle = float(np.median(list(above.values())))
        for found, by in (
            (own, lambda at, c=c: logs[c, at[0], at[1]]),
            (unusual, lambda at, above=above: above[at]),
        ):
            y, x = max(corners, key=by)
            cells = np.zeros((15, 21), bool)
            cells[y : y + 2, x : x + 3] = True
            np.testing.assert_array_equal(found.regions[c], cells)
            assert found.score[c] == pytest.approx(above[y, x] - middle)


def shortcut(
    indicator: str,
    fill: float,
    *,
    target: int = 0,
    verdict: str = "used",
    low: float = 0.2,
    p: float = 0.01,
) -> Shortcut:
    """Of a class, with what masking took by the fill that takes least, and p of pasting."""
    mask = MaskEffect(
        n=60, recognised=40, margin=1.0, drop=0.5, control_drop=0.0, share=0.5, low=low, high=0.9,
        p=0.01, flips=0.5, control_flips=0.0, by_fill={"mean": 0.9, "donor": fill},
    )  # fmt: skip
    transplant = TransplantEffect(
        n=60, rise=0.4, control_rise=0.1, moved=0.2, control_moved=0.0, low=0.1, high=0.3, p=p
    )
    return Shortcut.model_validate(
        {
            "class": target, "class_name": None, "indicator": indicator, "statistic": "S",
            "n": 60, "q": None, "effect": 0.9, "others": 0.2, "presence": 1.0, "region": None,
            "area": None, "verdict": verdict, "mask": mask, "transplant": transplant,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("indicator", "verdict", "fill", "low", "convinced"),
    [
        ("place", "used", 0.31, 0.2, True),
        ("place", "portable", 0.31, 0.2, True),
        ("place", "portable", 0.29, 0.9, False),  # one way of masking takes little
        ("place", "candidate", 0.9, 0.9, False),
        ("repeat", "portable", 0.9, 0.8, True),
        ("repeat", "portable", 0.9, 0.7, False),  # at peaks it has to be most of the margin
        ("repeat", "used", 0.9, 0.8, False),
    ],
)
def test_what_convinces(
    indicator: str, verdict: str, fill: float, low: float, convinced: bool
) -> None:
    found = shortcut(indicator, fill, verdict=verdict, low=low)
    assert convinces(found) == convinced
    assert not convinces(found.model_copy(update={"mask": None}))
    assert not convinces(found.model_copy(update={"transplant": None}))


def test_pasting_has_to_agree_with_masking() -> None:
    assert convinces(shortcut("place", 0.5, p=0.049))
    assert not convinces(shortcut("place", 0.5, p=0.051))


def screened_as(taken: list[float | None]) -> list[int]:
    """Of classes whose place takes so much of a margin of 1, None where that is not known."""
    proposals = [
        Candidate(shortcut("place", 0.5, target=n), None, False) for n in range(len(taken))
    ]
    results = [None if each is None else Screened(each, 1.0) for each in taken]
    return [*itertools.compress(range(len(taken)), worth_trying(proposals, results))]


def test_a_proposal_has_to_take_much_and_far_more_than_others_lose() -> None:
    assert screened_as([0.9, 0.1]) == [0]
    assert screened_as([0.9, 0.3]) == []  # less than four times as much
    assert screened_as([0.29, 0.0]) == []  # little of its margin
    assert screened_as([0.9, None, -3.0]) == [0]
    assert screened_as([0.9]) == [0]
    # Small objects: masking what maps point to takes all of any class's margin.
    assert screened_as([0.9, 1.0, 1.1, 4.3]) == []
    # Of eight classes two with a mark do not hide one another; three do.
    assert screened_as([0.9, 0.1, 0.8, *[0.1] * 5]) == [0, 2]
    assert screened_as([0.9, 0.7, 0.8, *[0.1] * 5]) == []


def test_places_are_compared_with_places_and_a_class_by_its_best() -> None:
    kinds = [("place", 0, 0.9), ("place", 0, 0.35), ("place", 1, 0.1), ("repeat", 1, 2.0)]
    proposals = [Candidate(shortcut(kind, 0.5, target=n), None, False) for kind, n, _ in kinds]
    worth = worth_trying(proposals, [Screened(taken, 1.0) for *_, taken in kinds])
    assert worth == [True, False, False, True]
    margins = [Screened(taken, -1.0) for *_, taken in kinds]
    assert not any(worth_trying(proposals, margins))


@dataclasses.dataclass
class Asked:
    """A model of which all that is proposed of the first class takes the whole margin."""

    tried: list[Shortcut] = dataclasses.field(default_factory=list)

    def screen(self, proposal: Candidate) -> Screened | None:
        return None if proposal.finding.indicator == "property" else Screened(1.0, 1.0)

    def confirm(self, candidate: Candidate) -> Shortcut:
        self.tried.append(candidate.finding)
        return candidate.finding


def test_of_a_classs_proposals_that_convince_the_strongest_is_told() -> None:
    weak, strong, stronger = (shortcut("place", fill) for fill in (0.2, 0.5, 0.8))
    asked = Asked()
    outcomes: list[str] = []

    def tell(candidates: list[Shortcut], proposed: list[Shortcut]) -> list[Shortcut]:
        asked.tried.clear()
        known = [Candidate(each, None) for each in candidates]
        tried = try_all(known, [Candidate(each, None, False) for each in proposed], asked)
        outcomes[:] = [each.outcome for each in tried.proposals]
        return tried.shortcuts

    assert tell([], [weak]) == []
    assert outcomes == ["unconvincing"]
    assert tell([], [strong, stronger, weak]) == [stronger]
    assert outcomes == ["unconvincing", "told", "unconvincing"]
    cleared = shortcut("place", 0.0, verdict="cleared")
    assert tell([cleared], [strong]) == [cleared, strong]
    other = shortcut("place", 0.5, target=3)
    assert tell([other], [strong]) == [strong, other]  # by class
    # A class whose candidate is used already needs no more places, but its peaks are another thing.
    used, peaks = shortcut("place", 0.1), shortcut("repeat", 0.9, verdict="portable", low=0.9)
    assert tell([used], [stronger, peaks]) == [used, peaks]
    assert stronger not in asked.tried
    assert outcomes == ["needless", "told"]
    tint = shortcut("property", 0.0, verdict="candidate").not_tried("no class is alike")
    assert tell([], [tint]) == []
    assert outcomes == ["untried"]


def test_pasting_that_moves_many_images_is_told_as_a_question() -> None:
    """A large mark of one colour is there still when it is blurred."""
    flat = shortcut("place", 0.05, verdict="candidate")
    assert flat.transplant is not None

    def moving(low: float, **changed: object) -> Shortcut:
        assert flat.transplant is not None
        transplant = flat.transplant.model_copy(update={"low": low})
        return flat.model_copy(update={"transplant": transplant, **changed})

    assert raises_question(moving(0.3))
    assert not raises_question(moving(0.29))
    assert not raises_question(moving(0.9, indicator="repeat"))
    assert not raises_question(moving(0.9, verdict="cleared"))
    convincing = shortcut("place", 0.31)
    for order in ([moving(0.9), convincing], [convincing, moving(0.9)]):
        proposed = [Candidate(each, None, False) for each in order]
        assert try_all([], proposed, Asked()).shortcuts == [convincing]
    (told,) = try_all([], [Candidate(moving(0.9), None, False)], Asked()).shortcuts
    assert told.verdict == "candidate"
    few = moving(0.9)
    assert few.transplant is not None
    transplant = few.transplant.model_copy(update={"n": 49})
    assert not raises_question(few.model_copy(update={"transplant": transplant}))
    # A candidate of the class asks the same.
    known = [Candidate(shortcut("place", 0.1, verdict="candidate"), None)]
    again = try_all(known, [Candidate(moving(0.9), None, False)], Asked())
    assert len(again.shortcuts) == 1
    assert [each.outcome for each in again.proposals] == ["unconvincing"]
    assert describe(told).endswith("of ways of masking the one by another image takes least, 5%")


def test_what_came_of_each_proposal_is_said() -> None:
    found = Screened(0.5, 1.0), Screened(0.1, 1.0), None, Screened(0.1, -1.0)

    class Model(Asked):
        def screen(self, proposal: Candidate) -> Screened | None:
            return found[proposal.finding.class_number]

    proposed = [Candidate(shortcut("place", 0.5, target=n), None, False) for n in range(4)]
    tried = try_all([], proposed, Model())
    outcomes = [(each.class_number, each.outcome, each.screened) for each in tried.proposals]
    assert outcomes == [
        (0, "told", 0.5), (1, "passed_over", 0.1), (2, "unknown", None), (3, "passed_over", None)
    ]  # fmt: skip
    assert tried.proposals[0].mask == tried.shortcuts[0].mask


SAID = (
    "3 places, peaks and properties of 2 classes that do not stand out were looked into with the "
    "model: 1 told, 1 tried without convincing, 1 passed over, as masking a few images takes too "
    "little. audit.json has each (proposals)."
)


def test_an_audit_tells_a_proposal_only_after_an_experiment(binary: Atlas) -> None:
    gates = [{"statistic": "corner_energy_mean", "below": 0.9}]
    section = AuditSection.model_validate({"gates": gates})

    class Model:
        def screen(self, proposal: Candidate) -> Screened:
            return Screened(1.0 if proposal.finding.class_number == MARKED else 0.1, 1.0)

        def confirm(self, candidate: Candidate) -> Shortcut:
            assert candidate.finding.class_number == MARKED
            like = shortcut("place", 0.5)
            update = {"verdict": "used", "mask": like.mask, "transplant": like.transplant}
            return candidate.finding.model_copy(update=update)

    short = audit(binary, section.model_copy(update={"min_n": 131}), experiments=Asked())
    assert short.proposals == []
    assert "nothing was looked into with the model" in (proposals_sentence(short) or "")
    alone = audit(binary, section)
    assert (alone.shortcuts, alone.proposals, proposals_sentence(alone)) == ([], None, None)
    result = audit(binary, section, experiments=Model())
    assert AuditResult.from_json(result.to_json()) == result
    assert proposals_sentence(result) == SAID
    assert SAID in summary_markdown(result).decode()
    (told,) = result.shortcuts
    assert (told.class_number, told.verdict, told.indicator) == (MARKED, "used", "place")
