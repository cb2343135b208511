"""From sums over pairs to figures with intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.audit.estimation.divergence import drift
from pipeline.audit.estimation.intervals import (
    Intervals,
    Moments,
    mean_interval,
    recovered_difference,
    share_interval,
)
from pipeline.audit.estimation.quantiles import histogram_values
from pipeline.audit.figures import ClassFolds
from pipeline.compare.pairing import Pairing
from pipeline.compare.relation import Relation
from pipeline.compare.result import (
    Alikeness,
    ClassPair,
    Estimate,
    JoinedExamples,
    MovedExample,
    PredictionFlip,
    PredictionPair,
)
from pipeline.compare.sums import (
    BINS,
    FIXED_BITS,
    JoinedSums,
    MeasureSums,
    Moved,
    PredictionSums,
)
from transforms.errors import ConfigurationError
from transforms.statistics.groups.moments import mean, skewness, standard_deviation
from transforms.statistics.groups.rows import NO_CLASS

CONFIDENCE = 0.95
"""Of each interval by itself."""

_MOST_FLIPS = 20
_QUANTILES = (0.05, 0.5, 0.95)
_NOTHING = Estimate(value=None, low=None, high=None)


@dataclasses.dataclass(frozen=True)
class ClassNames:
    """What classes are called.

    Attributes:
      names: By number; None, as for those beyond, where a class has none.
    """

    names: Sequence[str]

    def of(self, number: int) -> str | None:
        """The name of a class."""
        return self.names[number] if 0 <= number < len(self.names) else None


def finish(relation: Relation, pairing: Pairing, sums: JoinedSums) -> JoinedExamples:
    """The figures of two atlases of the same examples.

    Args:
      relation: What they are to each other.
      pairing: Which blocks were met.
      sums: What they add up to.

    Raises:
      ConfigurationError: No example is in both.
    """
    first, second = relation.first, relation.second
    if not sums.examples:
        reason = "records in the same place have other ids" if sums.renamed else "no id is in both"
        raise ConfigurationError(
            f"{second.atlas.path} does not compare with {first.atlas.path}: they have no example "
            f"in common ({reason}); give two atlases of the same data"
        )
    names = ClassNames(first.manifest.class_names or second.manifest.class_names)
    whole = sums.whole()
    explained = [_explained(each.manifest.result) for each in (first, second)]
    by_place = any(pair.records is None for pair in pairing.pairs)
    how = "place and id" if by_place and pairing.by_id else "id" if pairing.by_id else "place"
    return JoinedExamples.model_validate(
        {
            "by": how,
            "maps": "codes" if relation.has_same_maps else "sketches",
            "examples": sums.examples,
            "only_first": explained[0] - sums.examples,
            "only_second": explained[1] - sums.examples,
            "duplicate_ids_first": pairing.duplicates[0],
            "duplicate_ids_second": pairing.duplicates[1],
            "renamed": sums.renamed,
            "relabelled": sums.predictions.relabelled,
            "pairs": whole.pairs,
            "other_class_first": sums.unmatched[0],
            "other_class_second": sums.unmatched[1],
            "undefined": whole.pairs - whole.spearman.n,
            "spearman": _alikeness(whole.spearman),
            "top_decile_overlap": _alikeness(whole.overlap),
            "predictions": _predictions(sums.predictions),
            "flips": _flips(sums, names),
            "classes": _classes(sums, names, _drifts(relation)),
            "moved": [_moved(each, names) for each in sums.moved],
        }
    )


def _explained(result: object) -> int:
    return int(getattr(result, "explained_examples", 0))


def _alikeness(sums: MeasureSums) -> Alikeness:
    if not sums.n:
        return Alikeness(n=0, mean=_NOTHING, q05=None, q50=None, q95=None)
    edges = np.linspace(sums.low, 1, BINS + 1)
    counts = sums.bins[np.newaxis]
    low, middle, high = (
        float(histogram_values(counts, edges, np.array([share * sums.n]))[0])
        for share in _QUANTILES
    )
    return Alikeness(n=sums.n, mean=_mean(sums), q05=low, q50=middle, q95=high)


def _mean(sums: MeasureSums) -> Estimate:
    """The mean with Student's t corrected for skewness (`mean_interval`), within the range."""
    value = mean(sums.n, sums.total, FIXED_BITS)
    std = standard_deviation(sums.n, sums.total, sums.squares, FIXED_BITS)
    lean = skewness(sums.n, sums.total, sums.squares, sums.cubes)
    given = (sums.n, value, std, math.nan if lean is None else lean)
    moments = Moments(*(np.array([each], np.float64) for each in given))
    low, high = mean_interval(moments, CONFIDENCE)
    return estimate(value, max(float(low[0]), sums.low), min(float(high[0]), 1.0))


def _predictions(sums: PredictionSums) -> PredictionPair:
    n, labelled = sums.n, sums.labelled
    flipped = share_interval(np.array([sums.flips]), np.array([max(n, 1)]), CONFIDENCE)
    share = estimate(sums.flips / n, *_ends(flipped)) if n else _NOTHING
    return PredictionPair(
        n=n,
        flips=sums.flips,
        flip_share=share,
        labelled=labelled,
        accuracy_first=sums.correct / labelled if labelled else None,
        accuracy_second=sums.other_correct / labelled if labelled else None,
        accuracy_change=_accuracy_change(sums) if labelled else _NOTHING,
    )


def _accuracy_change(sums: PredictionSums) -> Estimate:
    """Second less first, of the same examples: Newcombe's interval with their correlation (phi)."""
    n = np.array([sums.labelled])
    first, second = (np.array([each]) for each in (sums.correct, sums.other_correct))
    around = [share_interval(each, n, CONFIDENCE) for each in (second, first)]
    shares = second / n, first / n
    both = sums.both_correct / sums.labelled
    one, other = (float(each[0]) for each in shares)
    spread = one * (1 - one) * other * (1 - other)
    correlation = (both - one * other) / math.sqrt(spread) if spread > 0 else 0.0
    found = recovered_difference(shares[0], around[0], shares[1], around[1], correlation)
    return estimate(one - other, *_ends(found))


def _flips(sums: JoinedSums, names: ClassNames) -> list[PredictionFlip]:
    ordered = sorted(sums.flips.items(), key=lambda item: (-item[1], item[0]))
    return [
        PredictionFlip(
            first=one, first_name=names.of(one), second=other, second_name=names.of(other), n=n
        )
        for (one, other), n in ordered[:_MOST_FLIPS]
    ]


def _classes(
    sums: JoinedSums, names: ClassNames, drifts: Mapping[int, Estimate] | None
) -> list[ClassPair]:
    found = [
        ClassPair(
            class_number=number,
            class_name=names.of(number),
            pairs=each.pairs,
            spearman=_alikeness(each.spearman),
            top_decile_overlap=_alikeness(each.overlap),
            predictions=_predictions(each.predictions),
            drift=None if drifts is None else drifts.get(number, _NOTHING),
        )
        for number, each in sorted(sums.classes.items())
    ]
    return sorted(found, key=_by_spearman)


def _by_spearman(found: ClassPair) -> tuple[bool, float, int]:
    value = found.spearman.mean.value
    return value is None, value or 0.0, found.class_number


def _drifts(relation: Relation) -> dict[int, Estimate] | None:
    """Of the mean maps of each class in both, by number; None where grids differ."""
    if not relation.has_same_grid:
        return None
    first, second = (
        ClassFolds.read(each.atlas).folds for each in (relation.first, relation.second)
    )
    return {
        number: estimate(*drift(folds, second[number], CONFIDENCE))
        for number, folds in first.items()
        if number in second
    }


def _moved(moved: Moved, names: ClassNames) -> MovedExample:
    unit = 1 << FIXED_BITS
    label, predicted, other = (
        None if each == NO_CLASS else each
        for each in (moved.label, moved.predicted, moved.other_predicted)
    )
    return MovedExample(
        example_id=moved.example_id,
        shard=moved.shard,
        record_first=moved.record,
        record_second=moved.other_record,
        block_first=moved.block,
        block_second=moved.other_block,
        class_number=moved.target,
        class_name=names.of(moved.target),
        spearman=moved.spearman / unit,
        top_decile_overlap=moved.overlap / unit,
        label=label,
        predicted_first=predicted,
        predicted_second=other,
    )


def estimate(value: float | None, low: float, high: float) -> Estimate:
    """A figure with its interval, where NaN is that there is none."""
    figures = (
        None if each is None or not math.isfinite(each) else float(each)
        for each in (value, low, high)
    )
    return Estimate(**dict(zip(("value", "low", "high"), figures, strict=True)))


def _ends(intervals: Intervals) -> tuple[float, float]:
    return float(intervals.low[0]), float(intervals.high[0])
