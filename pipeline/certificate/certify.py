"""Tries what a method's maps say about a model, on a sample of its examples.

    explain twice -> draw weights anew, explain again -> explain another class
                  -> take places away, put them back

A map that stays the same when the model's weights are drawn anew shows the input, not the model;
one that is the same for another class does not show the class; one whose most salient places matter
no more to the score than random ones does not show what matters. None of this says that a map is
*right*: there is nothing to compare it with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.certificate.drawn_weights import draw_weights, layers_with_kernels
from pipeline.certificate.estimates import mean_of
from pipeline.certificate.orders import areas, cell_masses, ordering, random_ranks, ranks_of
from pipeline.certificate.pinned_maps import Maps, PinnedMaps, block_of
from pipeline.certificate.result import Certificate, Ordering, Weights, WeightsStep
from pipeline.certificate.scores import ScoredInputs
from transforms.elements import Examples
from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel
from transforms.saliency.block import BlockExplainer


def certify(
    model: LoadedModel,
    reload: Callable[[], LoadedModel],
    explainer: BlockExplainer,
    examples: Examples,
    samples: int,
) -> Certificate:
    """Makes the certificate of a run's method and model.

    Args:
      model: The run's; it is left as it is.
      reload: Loads it once more; its weights are drawn anew here.
      explainer: The run's.
      examples: The sample.
      samples: How many were asked for.

    Raises:
      ConfigurationError: None of the examples can be explained.
    """
    first, again = (explainer.explain(block_of(examples)).table for _ in range(2))
    targets: dict[int, int] = {}
    for row, target in zip(first["record"].to_pylist(), first["target"].to_pylist(), strict=True):
        targets.setdefault(row, target)  # Of several that are explained, the first.
    if not targets:
        raise ConfigurationError(
            f"explain.certificate: none of the {len(examples)} examples that it would be of can be "
            "explained; see what is wrong with them by plan, or leave it out"
        )
    labels = np.array(
        [targets.get(row, label) for row, label in enumerate(examples.labels)], np.int32
    )
    pinned = dataclasses.replace(examples, labels=labels)
    rows = np.array(sorted(targets), np.int64)
    notes: list[str] = []
    maps = PinnedMaps(reload(), explainer.spec, pinned, rows)
    scored = ScoredInputs(model, explainer.spec, pinned, rows)
    before = maps.explain(labels[rows])
    other = None
    if scored.probabilities is not None:
        other = mean_of(before.similarity(maps.explain(scored.runners_up())))
    else:
        notes.append("another class: the model returns no scores of classes")
    by_map, at_random = _orderings(scored, before, notes)
    return Certificate(
        samples=samples,
        examples=len(rows),
        maps=first.num_rows,
        identical=_identical(first, again),
        weights=_weights(maps, before, labels[rows], notes),
        other_class=other,
        deletion=by_map,
        insertion=at_random,
        score="score" if scored.probabilities is None else "probability",
        notes=notes,
    )


def _identical(first: pa.Table, again: pa.Table) -> int:
    """How many rows have the same map and scale in both."""
    columns = ("record", "target", "map", "map_scale")
    sides = [
        {tuple(row.values()) for row in table.select(columns).to_pylist()}
        for table in (first, again)
    ]
    return len(sides[0] & sides[1])


def _weights(
    maps: PinnedMaps, before: Maps, targets: npt.NDArray[np.int32], notes: list[str]
) -> Weights | None:
    if maps.keras_model is None:
        notes.append("new weights: the model has no Keras layers whose weights could be drawn")
        return None
    if maps.integer_dtype is not None:
        notes.append(
            f"new weights: the model takes {maps.integer_dtype}, and is explained with its weights "
            "as constants"
        )
        return None
    layers = layers_with_kernels(maps.keras_model)
    if not layers:
        notes.append("new weights: no layer of the model has a kernel")
        return None
    steps = []
    after = before
    for drawn in draw_weights(layers):
        after = maps.explain(targets)
        steps.append(WeightsStep(layers=drawn, similarity=mean_of(before.similarity(after))))
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = after.entropies / before.entropies - 1
    return Weights(layers=len(layers), steps=steps, entropy_rise=mean_of(rise))


def _orderings(
    scored: ScoredInputs, before: Maps, notes: list[str]
) -> tuple[Ordering | None, Ordering | None]:
    if scored.model.embedding_width is not None:
        notes.append("deletion and insertion: of tokens there is no mean to replace them by")
        return None, None
    positions = scored.spec.inputs.positions
    maps = before.values.reshape(len(before.values), *positions, -1).max(axis=-1)
    ranks = ranks_of(cell_masses(maps))
    orders = (ranks, random_ranks(scored.ids, ranks.shape[1]))
    size = scored.spec.batch_size
    ours, others = (areas(scored.inputs, positions, each, scored, size) for each in orders)
    return (
        ordering(ours.deletion, others.deletion, better=-1),
        ordering(ours.insertion, others.insertion, better=1),
    )
