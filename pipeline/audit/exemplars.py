"""The examples that weigh most in a failure: the highest or the lowest of its group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.atlas import Atlas
from pipeline.audit.estimation.divergence import jensen_shannon
from pipeline.audit.estimation.intervals import Floats
from pipeline.audit.pairs import (
    Group,
    slice_values,
    statistic_values,
    stored_columns,
)

EXEMPLARS = 6
"""How many ids a failure has at most."""

_SKETCH = "sketch"


def heaviest(
    atlas: Atlas,
    statistic: str,
    slice_name: str | None,
    groups: Sequence[Group],
    highest: Sequence[bool],
    *,
    references: Sequence[Floats] | None = None,
) -> list[list[str]]:
    """Ids of the examples with the highest or lowest values of each group.

    One pass over the rows of the classes in question, a few thousand at a time. Of equal values
    the first by id.

    Args:
      atlas: The atlas.
      statistic: A column of the maps table, or `CORRECT`; `sketch` for the divergence of a map.
      slice_name: Of which slice the groups have a value; None for whole classes.
      groups: The groups.
      highest: Of each, whether high values are what is wrong.
      references: Of each, the (cells,) mass that a sketch is compared with.

    Returns:
      Of each group at most `EXEMPLARS` ids, the heaviest first.
    """
    places = {group: number for number, group in enumerate(groups)}
    numbers = sorted({number for number, _ in groups if number is not None})
    kept: list[list[tuple[float, str]]] = [[] for _ in groups]
    columns = ["example_id", "target", *stored_columns([statistic], slice_name)]
    where = pc.field("target").isin(numbers)
    for batch in atlas.batches(list(dict.fromkeys(columns)), where):
        rows = pa.Table.from_batches([batch])
        values = (
            [None] * len(batch)
            if slice_name is None
            else slice_values(rows, slice_name).to_pylist()
        )
        of_rows = zip(rows["target"].to_pylist(), values, strict=True)
        place = np.array([places.get(group, -1) for group in of_rows])
        for number in np.unique(place[place >= 0]).tolist():
            inside = np.flatnonzero(place == number)
            part = rows.take(pa.array(inside))
            weights = _weights(part, statistic, None if references is None else references[number])
            kept[number] = _heaviest(kept[number], part, weights if highest[number] else -weights)
    return [[name for _, name in sorted((-weight, name) for weight, name in each)] for each in kept]


def _weights(rows: pa.Table, statistic: str, reference: Floats | None) -> Floats:
    if reference is None:
        weights: Floats = statistic_values(rows, statistic).to_numpy().astype(np.float64)
        return weights
    sketches = rows[_SKETCH].combine_chunks().storage.flatten().to_numpy().astype(np.float64)
    maps = sketches.reshape(len(rows), -1)
    return jensen_shannon(maps, np.broadcast_to(reference, maps.shape))


def _heaviest(
    kept: list[tuple[float, str]], rows: pa.Table, weights: Floats
) -> list[tuple[float, str]]:
    defined = np.flatnonzero(np.isfinite(weights))
    least = (
        min((weight for weight, _ in kept), default=-np.inf) if len(kept) == EXEMPLARS else -np.inf
    )
    near = defined[weights[defined] >= least]
    # Those beyond the first few by weight cannot be kept, unless they are equal to the last.
    if len(near) > EXEMPLARS:
        last = np.partition(weights[near], -EXEMPLARS)[-EXEMPLARS]
        near = near[weights[near] >= last]
    ids = rows["example_id"].take(pa.array(near)).to_pylist()
    found = [*kept, *zip(weights[near].tolist(), ids, strict=True)]
    return sorted(found, key=lambda each: (-each[0], each[1]))[:EXEMPLARS]
