"""What a comparison came to: the document that `compare --json` prints, whose schema this is."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.audit.result import SampleSize
from pipeline.compare.relation import Kind

COMPARISON_FORMAT: Literal[1] = 1
"""Of the document; another one whenever a reader of this one would misread it."""


_CLASS = Field(validation_alias="class", serialization_alias="class")  # a word of Python's


class Part(pydantic.BaseModel):
    """A part of the document: all of it is there, and it is not changed."""

    model_config = pydantic.ConfigDict(frozen=True, populate_by_name=True)


class ComparedAtlas(Part):
    """One of the two atlases.

    Attributes:
      atlas: Its folder, as `storage.to_text` writes it.
      fingerprint: Of its settings.
      model: Where its model was.
      method: The method's name.
      started: When its run began, in ISO 8601.
      examples: How many it explains.
      maps: How many maps it has: one per example and class explained.
      sample: How much of its data it explains; null where it is all.
    """

    atlas: str
    fingerprint: str
    model: str
    method: str
    started: str
    examples: int
    maps: int
    sample: SampleSize | None = None


class KeyDifference(Part):
    """A key in which the two differ; its values as JSON."""

    key: str
    first: str
    second: str


class Estimate(Part):
    """A figure with its interval; null where it is undefined, or has no interval.

    Attributes:
      value: The figure.
      low: The interval's lower end.
      high: Its upper end.
    """

    value: float | None
    low: float | None
    high: float | None


class Alikeness(Part):
    """How alike maps are, by one measure, over the pairs in which both vary.

    Attributes:
      n: Pairs of maps.
      mean: Their mean, with its interval.
      q05: What 5 % of the pairs are below, to within a 128th (Spearman) or a 256th (overlap).
      q50: The same of half of them.
      q95: The same of 95 % of them.
    """

    n: int
    mean: Estimate
    q05: float | None
    q50: float | None
    q95: float | None


class PredictionPair(Part):
    """What both models predict of the same examples.

    Attributes:
      n: Examples with a prediction in both.
      flips: How many of them are predicted as another class.
      flip_share: Their share.
      labelled: Examples of those with a label in both.
      accuracy_first: The share that is right in the first; null without labels.
      accuracy_second: In the second.
      accuracy_change: The second's less the first's, of the same examples.
    """

    n: int
    flips: int
    flip_share: Estimate
    labelled: int
    accuracy_first: float | None
    accuracy_second: float | None
    accuracy_change: Estimate


class ClassPair(Part):
    """The maps of one class explained.

    Attributes:
      class_number: The class.
      class_name: Its name; null where the atlas has none.
      pairs: Maps that are met.
      spearman: How alike they are, by rank correlation.
      top_decile_overlap: By the places that hold the top tenth.
      predictions: Of the maps' examples.
      drift: Of the class's mean maps: Jensen-Shannon, bits, less its bias, so that it may be a
        little below 0; null where grids differ.
    """

    class_number: int = _CLASS
    class_name: str | None
    pairs: int
    spearman: Alikeness
    top_decile_overlap: Alikeness
    predictions: PredictionPair
    drift: Estimate | None


class MovedExample(Part):
    """A pair of maps that is less alike than others.

    Attributes:
      example_id: The example.
      shard: The input file's name, in the first.
      record_first: Its number there.
      record_second: Its number in the second.
      block_first: The block's file, below the first atlas.
      block_second: Below the second.
      class_number: The class explained.
      class_name: Its name.
      spearman: Of the two maps.
      top_decile_overlap: Of the two maps.
      label: The example's, in the first; null where there is none.
      predicted_first: In the first; null where the model gives no classes.
      predicted_second: In the second.
    """

    example_id: str
    shard: str
    record_first: int
    record_second: int
    block_first: str
    block_second: str
    class_number: int = _CLASS
    class_name: str | None
    spearman: float
    top_decile_overlap: float
    label: int | None
    predicted_first: int | None
    predicted_second: int | None


class PredictionFlip(Part):
    """Examples that were predicted as one class and now are as another."""

    first: int
    first_name: str | None
    second: int
    second_name: str | None
    n: int


class JoinedExamples(Part):
    """Two atlases of the same examples, met one by one.

    Attributes:
      by: `place`: by input file and record; `id`: by example id; `place and id`: some files each.
      maps: What was met place by place: stored `codes`; where maps differ in size, `sketches`.
      examples: In both.
      only_first: Examples of the first that the second has not, or that could not be met.
      only_second: The same the other way.
      duplicate_ids_first: Those of `only_first` whose id another example has, where ids were met.
      duplicate_ids_second: The same of `only_second`.
      renamed: Records in the same place with another id; they are not met.
      relabelled: Examples in both with another label.
      pairs: Maps of the same example and class.
      other_class_first: Maps of examples in both whose class the second does not explain.
      other_class_second: The same the other way.
      undefined: Pairs of which a map is the same everywhere: neither measure is defined.
      spearman: How alike the maps are, by rank correlation.
      top_decile_overlap: By the places that hold the top tenth of each.
      predictions: Of the examples in both.
      flips: Which prediction became which, the commonest first, at most 20.
      classes: By class explained, the least alike first.
      moved: The pairs of maps that are least alike, at most 20.
    """

    by: Literal["place", "id", "place and id"]
    maps: Literal["codes", "sketches"]
    examples: int
    only_first: int
    only_second: int
    duplicate_ids_first: int
    duplicate_ids_second: int
    renamed: int
    relabelled: int
    pairs: int
    other_class_first: int
    other_class_second: int
    undefined: int
    spearman: Alikeness
    top_decile_overlap: Alikeness
    predictions: PredictionPair
    flips: list[PredictionFlip]
    classes: list[ClassPair]
    moved: list[MovedExample]


class StatisticChange(Part):
    """A statistic's mean over the maps of a group, in both.

    Attributes:
      statistic: Its name.
      first: The mean in the first; null where it is undefined.
      second: In the second.
      change: The second's less the first's.
      effect: Cohen's d: the change by the root of the mean of both variances.
      p: Of Welch's t-test that the means are equal: information, no verdict.
      divergence: Of the two histograms over tenths of all values: Jensen-Shannon, bits.
      chance: What the divergence is in the mean where both are drawn from the same values.
    """

    statistic: str
    first: float | None
    second: float | None
    change: Estimate
    effect: Estimate
    p: float | None
    divergence: float | None
    chance: float | None


class GroupChange(Part):
    """A class, or the examples of one that have a slice's value, in both.

    Attributes:
      class_number: The class in the first.
      class_name: Its name.
      slice: The slice; null for the whole class.
      value: The slice's value, which may be null itself.
      n_first: Maps in the first.
      n_second: In the second.
      drift: Of the mean maps: Jensen-Shannon, bits; of a slice's values without an interval.
      accuracy_first: Null without labels.
      accuracy_second: Null without labels.
      accuracy_change: The second's less the first's.
      statistics: Those that both have.
    """

    class_number: int = _CLASS
    class_name: str | None
    slice: str | None
    value: str | None
    n_first: int
    n_second: int
    drift: Estimate
    accuracy_first: float | None
    accuracy_second: float | None
    accuracy_change: Estimate
    statistics: list[StatisticChange]


class Distributions(Part):
    """Two atlases of other examples: how their groups differ.

    Attributes:
      classes: Those in both, the most drifted first.
      slices: Values of slices in both, the most drifted first, at most 200.
      slices_in_all: How many there are.
      only_first: Names, or numbers, of classes that only the first has.
      only_second: The same of the second.
    """

    classes: list[GroupChange]
    slices: list[GroupChange]
    slices_in_all: int
    only_first: list[str]
    only_second: list[str]


class AtlasComparison(Part):
    """All of a comparison.

    Attributes:
      format: `COMPARISON_FORMAT`.
      relation: What is another one: the `model`, the `method`, the `data`, or nothing (`same`).
      sentence: The same in words.
      differences: Each key that differs.
      first: The atlas that changes are measured from.
      second: The other.
      confidence: Of each interval by itself.
      joined: Where the examples are the same; else null.
      distributions: Where they are others; else null.
    """

    format: Literal[1] = COMPARISON_FORMAT
    relation: Kind
    sentence: str
    differences: list[KeyDifference]
    first: ComparedAtlas
    second: ComparedAtlas
    confidence: float
    joined: JoinedExamples | None
    distributions: Distributions | None

    def to_json(self) -> bytes:
        """The document, indented, with a last line end."""
        return f"{self.model_dump_json(by_alias=True, indent=2)}\n".encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> AtlasComparison:
        """Takes back what `to_json` gives.

        Raises:
          pydantic.ValidationError: It is none.
        """
        return cls.model_validate_json(data)
