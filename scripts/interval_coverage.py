"""Measures how often the intervals of an audit hold the truth, on data like real corner energies.

Values are drawn from a known distribution, an interval is made of them as an audit makes it, and it
is counted how often the truth is inside. Corner energies of the demo's classes have skewnesses from
-0.4 to 2.0; those drawn here have 2. Maps are drawn with mass that differs in one corner.

The second table is about whole audits: one gate over 1,000 classes whose means are all exactly at
the threshold, so that every failure is a false one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import stats

from pipeline.audit.estimation.divergence import Folds, drift, jensen_shannon
from pipeline.audit.estimation.intervals import (
    Intervals,
    Moments,
    difference_interval,
    mean_interval,
    share_interval,
    simultaneous,
)
from pipeline.audit.estimation.quantiles import histogram_interval
from pipeline.audit.judging import verdicts
from pipeline.audit.result import Threshold

SIZES = (50, 500, 5_000)
CONFIDENCE = 0.95
CLASSES = 1_000
VALUES_AT_ONCE = 10_000_000
LEAST, SCALE = 0.04, 0.05  # of the corner energies drawn, least + scale * Exponential(1)
MEAN = LEAST + SCALE
MEDIAN = LEAST + SCALE * float(np.log(2))
BINS = 256
CELLS, FOLDS = 64, 16

Floats = npt.NDArray[np.float64]
Measure = Callable[[np.random.Generator, int, int], npt.NDArray[np.bool_]]
"""Whether each of R intervals of n examples holds the truth, of (random, n, R)."""


def corner_energies(random: np.random.Generator, rows: int, n: int) -> Floats:
    """(rows, n) values with skewness 2."""
    return LEAST + SCALE * random.standard_exponential((rows, n))


def moments(values: Floats) -> Moments:
    """Of each row."""
    mean = values.mean(axis=1)
    centred = values - mean[:, np.newaxis]
    squares = centred * centred
    std = np.sqrt(squares.mean(axis=1))
    third = (squares * centred).mean(axis=1)
    return Moments(np.full(len(values), values.shape[1]), mean, std, third / std**3)


def holds(found: Intervals, truth: float) -> npt.NDArray[np.bool_]:
    """Whether intervals hold the truth."""
    return (found.low <= truth) & (truth <= found.high)


def of_mean(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
    """Intervals of means."""
    return holds(mean_interval(moments(corner_energies(random, rows, n)), CONFIDENCE), MEAN)


def of_mean_by_student(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
    """Plain Student's t, for comparison."""
    values = corner_energies(random, rows, n)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(values, axis=1)
    mean = values.mean(axis=1)
    return holds(Intervals(mean - reach, mean + reach), MEAN)


def of_paired_difference(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
    """Intervals of mean differences of the same examples in two atlases."""
    first = corner_energies(random, rows, n)
    second = 0.6 * first + 0.4 * corner_energies(random, rows, n) * 1.5
    return holds(mean_interval(moments(second - first), CONFIDENCE), 0.2 * MEAN)


def of_difference(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
    """Intervals of the differences of two samples, one of which is half as large and as wide."""
    first = moments(corner_energies(random, rows, n))
    second = moments(corner_energies(random, rows, n // 2) / 2)
    return holds(difference_interval(first, second, CONFIDENCE), MEAN / 2)


def of_share(share: float) -> Measure:
    """Intervals of shares."""

    def measure(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
        count = random.binomial(n, share, rows)
        return holds(share_interval(count, np.full(rows, n), CONFIDENCE), share)

    return measure


def of_median(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
    """Intervals of medians, read off histograms of 256 bins."""
    places = (corner_energies(random, rows, n) * BINS).astype(np.int64).clip(0, BINS - 1)
    flat = places + BINS * np.arange(rows)[:, np.newaxis]
    counts = np.bincount(flat.reshape(-1), minlength=rows * BINS).reshape(rows, BINS)
    edges = np.linspace(0, 1, BINS + 1)
    return holds(histogram_interval(counts, edges, 0.5, CONFIDENCE), MEDIAN)


def maps(random: np.random.Generator, n: int, corner: float) -> npt.NDArray[np.float32]:
    """(n, CELLS) unit-mass maps, with skewed mass in a corner."""
    drawn = random.standard_exponential((n, CELLS), np.float32)
    mass = corner * random.standard_exponential(n, np.float32)
    drawn[:, 0] += 8 * mass
    drawn[:, 1] += 4 * mass
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def folds(random: np.random.Generator, drawn: npt.NDArray[np.float32]) -> Folds:
    """Deals maps to folds, as a hash of their ids would."""
    at = random.integers(0, FOLDS, len(drawn))
    n = np.bincount(at, minlength=FOLDS)
    starts = np.concatenate([[0], np.cumsum(n)[:-1]])
    ordered = drawn[np.argsort(at, kind="stable")]
    sums = np.stack(
        [
            ordered[s : s + count].sum(axis=0, dtype=np.float64)
            for s, count in zip(starts, n, strict=True)
        ]
    )
    return Folds(n, sums / np.maximum(n, 1)[:, np.newaxis])


def of_drift(corner: float) -> Measure:
    """Intervals of the divergence of two atlases' mean maps, one with more mass in the corner."""
    random = np.random.default_rng(1)
    whole = [
        np.mean(
            [maps(random, 100_000, c).mean(axis=0, dtype=np.float64) for _ in range(20)], axis=0
        )
        for c in (1.0, corner)
    ]
    truth = float(jensen_shannon(whole[0], whole[1]))

    def measure(random: np.random.Generator, n: int, rows: int) -> npt.NDArray[np.bool_]:
        found = [
            drift(
                folds(random, maps(random, n, 1.0)),
                folds(random, maps(random, n, corner)),
                CONFIDENCE,
            )
            for _ in range(rows)
        ]
        return np.array([each.low <= truth <= each.high for each in found])

    return measure


def coverage(measure: Measure, n: int, rows: int) -> float:
    """The share of so many intervals that hold the truth."""
    random = np.random.default_rng([n, rows])
    step = max(min(rows, VALUES_AT_ONCE // n), 1)
    found = [measure(random, n, min(step, rows - start)) for start in range(0, rows, step)]
    return float(np.concatenate(found).mean())


def false_failures(n: int, audits: int) -> tuple[float, float]:
    """Of audits of `CLASSES` classes at the threshold, the shares that fail any.

    Returns:
      For a gate `below`, and for a gate `above`.
    """
    random = np.random.default_rng(n)
    level = simultaneous(CONFIDENCE, CLASSES)
    enough = np.ones(CLASSES, bool)
    below = above = 0
    for _ in range(audits):
        around = mean_interval(moments(corner_energies(random, CLASSES, n)), level)
        below += "fail" in verdicts(around, Threshold(low=None, high=MEAN, of="value"), enough)
        above += "fail" in verdicts(around, Threshold(low=MEAN, high=None, of="value"), enough)
    return below / audits, above / audits


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description="Measures how often intervals hold the truth.")
    parser.add_argument("--repetitions", type=int, default=10_000, help="of each interval")
    parser.add_argument("--audits", type=int, default=1_000, help="of 1,000 classes each")
    arguments = parser.parse_args()
    measures: dict[str, tuple[Measure, int]] = {
        "mean": (of_mean, 1),
        "mean, plain Student's t": (of_mean_by_student, 1),
        "paired difference": (of_paired_difference, 1),
        "difference of two samples": (of_difference, 1),
        **{f"share {share}": (of_share(share), 1) for share in (0.05, 0.2, 0.5, 0.8, 0.95)},
        "median, from a histogram": (of_median, 1),
        # A tenth as many, as each takes as long as a hundred of the others.
        **{f"drift, corner x {corner}": (of_drift(corner), 10) for corner in (1.3, 2.0, 4.0)},
    }
    table = Table(title="Intervals of 95 % that hold the truth")
    for heading in ("of", *(f"n = {n:,}" for n in SIZES)):
        table.add_column(heading, justify="left" if heading == "of" else "right")
    for name, (measure, fewer) in measures.items():
        found = [coverage(measure, n, max(arguments.repetitions // fewer, 1)) for n in SIZES]
        table.add_row(name, *(f"{share:.1%}" for share in found))
    Console().print(table)
    table = Table(title="Audits of 1,000 classes at the threshold that fail any")
    for heading in ("n", "gate below", "gate above"):
        table.add_column(heading, justify="right")
    for n in SIZES[:2]:
        table.add_row(f"{n:,}", *(f"{share:.1%}" for share in false_failures(n, arguments.audits)))
    Console().print(table)


if __name__ == "__main__":
    main()
