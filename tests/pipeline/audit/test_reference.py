"""q values: ranks among classes of other atlases, against slow versions and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated_atlas import GRID, fake_rows, write_atlas

from pipeline.audit.files.markdown import reference_sentence
from pipeline.audit.shortcuts.reference import Reference, conformal_p
from pipeline.audit.shortcuts.scores import Scores
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

IMAGES = {"source": {"input": {"kind": "image"}}}
CELLS = GRID[0] * GRID[1]


def scores_of(statistic: str, score: list[float], n: int = 60) -> Scores:
    kind = "repeat" if statistic == "S2" else "place"
    count = len(score)
    return Scores(kind, statistic, np.arange(count), np.full(count, n), np.array(score))


def slow_q(p_values: list[float]) -> list[float]:
    """Benjamini-Hochberg as in their paper: the smallest level at which each is rejected."""
    ordered = sorted(p_values)
    m = len(ordered)
    return [min(ordered[k] * m / (k + 1) for k in range(m) if ordered[k] >= p) for p in p_values]


def test_ranks_are_counted() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 30, 20).astype(float)
    reference = np.sort(random.integers(0, 30, 99).astype(float))
    slow = [(1 + sum(each >= value for each in reference)) / 100 for value in values]
    np.testing.assert_allclose(conformal_p(values, reference), slow)


def test_q_values_are_over_classes_and_indicators() -> None:
    random = np.random.default_rng(2)
    places = scores_of("S1", [3.0, *random.normal(size=8), 9.0])
    repeats = scores_of("S2", random.normal(size=10).tolist())
    places.n[9] = 20
    reference = Reference(
        {name: np.sort(random.normal(size=250)) for name in ("S1", "S2")}, min_n=50
    )
    found = reference.q_values([places, repeats])
    ahead = repeats.score - np.array([np.delete(repeats.score, k).max() for k in range(10)])
    p_values = [
        *conformal_p(places.score, reference.values["S1"])[:9],
        *conformal_p(ahead, reference.values["S2"]),
    ]
    flat = np.concatenate(found)
    assert np.isnan(flat[9])  # too few maps
    flat = np.delete(flat, 9)
    np.testing.assert_allclose(flat, stats.false_discovery_control(p_values))
    np.testing.assert_allclose(flat, slow_q(p_values))
    assert flat.argmin() == 0


@pytest.mark.parametrize(
    ("classes", "of_reference", "known"), [(10, 200, True), (10, 199, False), (7, 400, False)]
)
def test_few_classes_have_no_q(classes: int, of_reference: int, known: bool) -> None:
    reference = Reference({"S1": np.arange(of_reference, dtype=float)}, min_n=50)
    (q,) = reference.q_values([scores_of("S1", [0.0] * classes)])
    assert np.isfinite(q).all() == known
    assert np.isnan(q).all() != known


def planted(root: Path, seed: int, classes: int, *, plant: bool) -> str:
    """Even maps but for chance; half of one class's mass is in a cell."""
    rows = fake_rows(classes, 120, seed=seed)
    random = np.random.default_rng(seed)
    rows["sketch"] = random.dirichlet(np.full(CELLS, 20.0), classes * 120)
    if plant:
        chosen = rows["target"] == 4
        rows["sketch"][chosen] *= 0.5
        rows["sketch"][chosen, 7] += 0.5
    path = write_atlas(root, rows, config=IMAGES)
    if not plant:
        audit_atlas(path, AuditSection(), None, None, LocalStorage())
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    root = tmp_path_factory.mktemp("atlases")
    clean = [planted(root / f"clean-{seed}", seed, 80, plant=False) for seed in range(2)]
    return planted(root / "planted", 5, 8, plant=True), clean


def test_an_audit_ranks_its_candidates_among_blessed_atlases(
    paths: tuple[str, list[str]], tmp_path: Path
) -> None:
    path, clean = paths
    section = AuditSection.model_validate({"reference": clean, "min_n": 40})
    result = audit_atlas(path, section, None, str(tmp_path / "audit"), LocalStorage())
    (found,) = result.shortcuts
    assert (found.class_number, found.indicator, found.calibrated) == (4, "place", True)
    assert result.reference is not None
    assert (result.reference.classes, result.reference.needed) == (160, 160)
    assert found.q == pytest.approx(8 / 161)
    summary = (tmp_path / "audit" / "summary.md").read_text()
    assert "(q 0.05)" in summary
    assert "q values are by ranks among the 160 classes of the 2 atlases" in summary


def test_too_small_a_reference_is_said(paths: tuple[str, list[str]], tmp_path: Path) -> None:
    path, clean = paths
    section = AuditSection.model_validate({"reference": clean[:1], "min_n": 40})
    result = audit_atlas(path, section, None, str(tmp_path / "audit"), LocalStorage())
    assert [each.q for each in result.shortcuts] == [None]
    assert reference_sentence(result) == (
        "No q values: the 1 atlas of audit.reference have 80 classes with maps enough, and it "
        "takes 160."
    )


def test_an_atlas_that_is_not_blessed_is_no_reference(
    paths: tuple[str, list[str]], tmp_path: Path
) -> None:
    path, _ = paths
    section = AuditSection.model_validate({"reference": [path]})
    with pytest.raises(ConfigurationError, match=r"has no audit/BLESSED.*audit it first"):
        audit_atlas(path, section, None, str(tmp_path / "audit"), LocalStorage())
