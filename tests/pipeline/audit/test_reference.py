"""q values: ranks among classes of other atlases, against slow versions and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated_atlas import GRID, fake_rows, write_atlas

from pipeline.audit.files.markdown import reference_sentence
from pipeline.audit.result import AuditResult
from pipeline.audit.shortcuts.reference import Reference, conformal_p
from pipeline.audit.shortcuts.scores import IndicatorKind, Scores, lead
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

IMAGES = {"source": {"input": {"kind": "image"}}}
CELLS = GRID[0] * GRID[1]


def scores_of(statistic: str, score: list[float], n: int = 60) -> Scores:
    kind: IndicatorKind = "repeat" if statistic == "S2" else "place"
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
    ahead = lead(repeats.score)
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


GATES = {"gates": [{"statistic": "corner_energy_mean", "below": 0.9}], "min_n": 15}
N = 50


def audited(path: str, folder: Path | None = None, *reference: str) -> AuditResult:
    section = AuditSection.model_validate({**GATES, "reference": list(reference)})
    return audit_atlas(path, section, None, None if folder is None else str(folder), LocalStorage())


def write(root: Path, classes: int, planted: int | None = None) -> str:
    """Even maps but for chance; half of one class's mass is in a cell."""
    rows = fake_rows(classes, N, seed=classes)
    rows["sketch"] = np.random.default_rng(classes).dirichlet(np.full(CELLS, 20.0), classes * N)
    chosen = rows["target"] == (-1 if planted is None else planted)
    rows["sketch"][chosen] *= 0.5
    rows["sketch"][chosen, 7] += 0.5
    return write_atlas(root, rows, config=IMAGES)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """An atlas with a planted class, and two blessed ones."""
    root = tmp_path_factory.mktemp("atlases")
    clean = write(root / "clean", 150), write(root / "small", 10)
    for each in clean:
        assert audited(each).verdict == "pass"
    return write(root / "planted", 8, planted=4), *clean


def test_an_audit_ranks_its_candidates_among_blessed_atlases(
    paths: tuple[str, str, str], tmp_path: Path
) -> None:
    path, *clean = paths
    result = audited(path, tmp_path, *clean)
    (found,) = result.shortcuts
    assert (found.class_number, found.indicator, found.calibrated) == (4, "place", True)
    assert result.reference is not None
    assert (result.reference.classes, result.reference.needed) == (160, 160)
    assert found.q == pytest.approx(8 / 161)  # the first of 161 ranks, of 8 classes
    summary = (tmp_path / "summary.md").read_text()
    assert "\\(q 0.05\\)" in summary or "(q 0.05)" in summary
    assert "q values are by ranks among the 160 classes of the 2 atlases" in summary


def test_too_small_a_reference_is_said(paths: tuple[str, str, str], tmp_path: Path) -> None:
    path, clean, _ = paths
    result = audited(path, tmp_path, clean)
    assert [each.q for each in result.shortcuts] == [None]
    assert reference_sentence(result) == (
        "No q values: audit.reference has 150 classes with maps enough, and it takes 160."
    )


def test_few_classes_are_not_ranked(paths: tuple[str, str, str], tmp_path: Path) -> None:
    few = write(tmp_path / "few", 3, planted=1)
    result = audited(few, tmp_path / "audit", paths[1])
    assert [(each.q, each.calibrated) for each in result.shortcuts] == [(None, False)]
    assert reference_sentence(result) == (
        "No q values: with under 8 classes a class has too few others to stand out from."
    )


def test_what_can_be_no_reference_is_refused(paths: tuple[str, str, str], tmp_path: Path) -> None:
    path, clean, _ = paths
    other = write(tmp_path / "other", 3)
    refused = {
        r"planted/? is the atlas itself": (f"{path}/",),
        r"names .* twice": (clean, f"{Path(clean).parent}/./clean"),
        r"has no audit/BLESSED.*audit it first": (other,),
        r"is no atlas": (str(tmp_path / "nothing"),),
    }
    for said, reference in refused.items():
        with pytest.raises(ConfigurationError, match=said):
            audited(path, tmp_path / "audit", *reference)
    assert not (tmp_path / "audit").exists()
