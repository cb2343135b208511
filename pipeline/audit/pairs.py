"""The same examples in two atlases: moments of the differences of their statistics.

Where both atlases are of the same input files, their rows are met file by file, so memory does not
grow with the atlas. Else all rows are joined at once, by example id and class explained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.atlas import Atlas
from pipeline.audit.estimation.intervals import Floats

CORRECT = "correct"
"""Whether the prediction is the label: 1 or 0, null without a label."""

OUTCOME = "outcome"
"""The slice that is stored in no column: whether the prediction is the label."""

_KEYS = ["example_id", "target"]
_OTHER = " of the baseline"
_SLICE_VALUE = "value of the slice"
_POWERS = 3
Group = tuple[int | None, str | None]
"""A class (None: the whole atlas), and a slice's value or None."""


@dataclasses.dataclass
class PairSums:
    """Sums over the pairs of one group, of d = this atlas's value less the baseline's.

    Attributes:
      n: Pairs with both values.
      powers: Sums of d, d^2 and d^3.
      products: Sums of the first value, the second, and their product.
    """

    n: int
    powers: Floats
    products: Floats

    @property
    def mean(self) -> float:
        """Of d."""
        return float(self.powers[0] / self.n)

    @property
    def std(self) -> float:
        """Of d, the population's."""
        return float(np.sqrt(max(self.powers[1] / self.n - self.mean**2, 0.0)))

    @property
    def skewness(self) -> float:
        """Of d, the population's; NaN where all are equal."""
        if self.std == 0:
            return float("nan")
        raw = self.powers / self.n
        third = raw[2] - 3 * raw[0] * raw[1] + 2 * raw[0] ** 3
        return float(third / self.std**3)

    @property
    def correlation(self) -> float:
        """Of two values that are 0 or 1 (phi); 0 where one side does not vary."""
        first, second, both = self.products / self.n
        spread = first * (1 - first) * second * (1 - second)
        return float((both - first * second) / np.sqrt(spread)) if spread > 0 else 0.0


def paired_sums(
    atlas: Atlas, baseline: Atlas, statistics: Sequence[str], slice_name: str | None
) -> dict[str, dict[Group, PairSums]]:
    """Sums over the examples that both atlases explain, by statistic and group.

    Args:
      atlas: The atlas.
      baseline: The other.
      statistics: Columns of the maps table, or `CORRECT`.
      slice_name: A slice, whose value in `atlas` counts; None for whole classes.
    """
    found: dict[str, dict[Group, PairSums]] = {name: {} for name in statistics}
    for pairs in _pairs(atlas, baseline, statistics, slice_name):
        values = [None] * pairs.num_rows if slice_name is None else pairs[_SLICE_VALUE].to_pylist()
        groups = list(zip(pairs["target"].to_pylist(), values, strict=True))
        number_of = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        numbers = np.fromiter((number_of[group] for group in groups), np.int64, len(groups))
        for name in statistics:
            first, second = (_floats(pairs, f"{name}{side}") for side in ("", _OTHER))
            _add(found[name], list(number_of), numbers, first, second)
    return found


def _add(
    found: dict[Group, PairSums],
    groups: Sequence[Group],
    numbers: npt.NDArray[np.int64],
    first: Floats,
    second: Floats,
) -> None:
    both = np.isfinite(first) & np.isfinite(second)
    numbers, first, second = numbers[both], first[both], second[both]
    difference = first - second
    n = np.bincount(numbers, minlength=len(groups))
    powers = [difference**power for power in range(1, _POWERS + 1)]
    sums = [
        np.bincount(numbers, weights=each, minlength=len(groups))
        for each in (*powers, first, second, first * second)
    ]
    for number, group in enumerate(groups):
        terms = np.array([each[number] for each in sums])
        new = PairSums(int(n[number]), terms[:_POWERS], terms[_POWERS:])
        old = found.get(group)
        found[group] = (
            new
            if old is None
            else PairSums(old.n + new.n, old.powers + new.powers, old.products + new.products)
        )


def _pairs(
    atlas: Atlas, baseline: Atlas, statistics: Sequence[str], slice_name: str | None
) -> Iterator[pa.Table]:
    folders = [shard.folder for shard in atlas.shards]
    same_files = [(shard.path, shard.size) for shard in atlas.shards] == [
        (shard.path, shard.size) for shard in baseline.shards
    ]
    for folder in folders if same_files else [None]:
        ours = _rows(atlas, statistics, slice_name, folder)
        theirs = _rows(baseline, statistics, None, folder)
        if ours.num_rows and theirs.num_rows:
            # Sorted, as a join gives rows in any order, and sums of floats depend on it.
            joined = ours.join(theirs, _KEYS, join_type="inner", right_suffix=_OTHER)
            yield joined.sort_by([(key, "ascending") for key in _KEYS])


def _rows(
    atlas: Atlas, statistics: Sequence[str], slice_name: str | None, folder: str | None
) -> pa.Table:
    columns = [*_KEYS, *stored_columns(statistics, slice_name)]
    batches = list(atlas.batches(list(dict.fromkeys(columns)), folder=folder))
    if not batches:
        return pa.table({name: [] for name in _KEYS})
    rows = pa.Table.from_batches(batches)
    chosen = {key: rows[key] for key in _KEYS}
    chosen |= {name: statistic_values(rows, name) for name in statistics}
    if slice_name is not None:
        chosen[_SLICE_VALUE] = slice_values(rows, slice_name)
    return pa.table(chosen)


def stored_columns(statistics: Sequence[str], slice_name: str | None) -> list[str]:
    """The columns of the maps table that some statistics and a slice are made of.

    Args:
      statistics: Columns, or `CORRECT`.
      slice_name: A slice, or None.
    """
    found = [name for name in statistics if name != CORRECT]
    if CORRECT in statistics or slice_name == OUTCOME:
        found += ["label", "predicted"]
    if slice_name not in (None, OUTCOME):
        found.append(str(slice_name))
    return found


def statistic_values(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A statistic of rows as numbers, null where it is undefined."""
    if name == CORRECT:
        return pc.equal(rows["label"], rows["predicted"]).cast(pa.float64())
    return rows[name].cast(pa.float64())


def slice_values(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A slice's values of rows, as the table of slices has them."""
    if name == OUTCOME:
        return pc.if_else(pc.equal(rows["label"], rows["predicted"]), "correct", "wrong")
    return rows[name].cast(pa.string())


def _floats(table: pa.Table, name: str) -> Floats:
    floats: Floats = table[name].to_numpy().astype(np.float64)
    return floats
