"""What the model gets of the first examples: ranges, labels, predictions, outputs, boxes."""

from __future__ import annotations

import collections
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from transforms.elements import NO_LABEL, Examples

OutputKind = Literal["softmax", "sigmoid", "logits", "numbers"]
"""`numbers` are read as no classes, such as those of a regression."""

_MOST_CHANNELS = 16
_MOST_FEATURES = 40
"""More are described together."""

_SUM_TOLERANCE = 1e-3
_ORIENTATION_TAG = 0x0112  # of EXIF; 1 is upright
_UPRIGHT = 1
_CELLS_THAT_TELL = 32
"""Outputs in 0..1 by chance are unlikely among so many."""


@dataclasses.dataclass(frozen=True)
class ValueRange:
    """Numbers, in three.

    Attributes:
      low: The smallest.
      mean: Their mean.
      high: The largest.
    """

    low: float
    mean: float
    high: float

    @classmethod
    def of(cls, values: npt.NDArray[np.floating[Any]]) -> ValueRange:
        """That of at least one number."""
        return cls(float(values.min()), float(values.mean(dtype=np.float64)), float(values.max()))


@dataclasses.dataclass(frozen=True)
class LabelsSeen:
    """The labels of the first examples.

    Attributes:
      low: The smallest.
      high: The largest.
      different: How many different ones.
    """

    low: int
    high: int
    different: int


@dataclasses.dataclass(frozen=True)
class OutputsSeen:
    """The outputs that are explained.

    Attributes:
      kind: What they are, by the model's graph where it ends in an activation, else by their
        values.
      by_graph: Whether the graph told.
      values: Their range.
      confidence: Mean probability of the largest one, as their softmax has it where they are
        logits; None where they are no classes.
    """

    kind: OutputKind
    by_graph: bool
    values: ValueRange
    confidence: float | None


@dataclasses.dataclass(frozen=True)
class FirstLook:
    """What the model gets of the first examples, and what it makes of them.

    Attributes:
      file: The input file they are from.
      examples: How many could be explained.
      different_ids: How many ids they have.
      stored: Range of the inputs as they are decoded, before the scale.
      inputs: Ranges of the inputs as the model gets them, by channel; one for all where there are
        many or none.
      labels: None where there are none.
      predicted_correctly: How many have the label that is predicted; None without labels or
        classes.
      labelled: How many have a label, of those that could be explained.
      with_boxes: How many have a box; None where none are configured.
      with_masks: How many have a mask; None where none are configured.
      empty_maps: How many maps are zero throughout.
      outputs: None where the model refused one of the examples.
      orientations: (EXIF orientation, how many images have it) where it is not upright.
      features: Names of the inputs, of a table; empty elsewhere.
      fed: Name of another input that features feed -> the range of its values.
    """

    file: str
    examples: int
    different_ids: int
    stored: ValueRange | None
    inputs: tuple[ValueRange, ...]
    labels: LabelsSeen | None
    predicted_correctly: int | None
    labelled: int
    with_boxes: int | None
    with_masks: int | None
    empty_maps: int
    outputs: OutputsSeen | None
    orientations: tuple[tuple[int, int], ...]
    features: tuple[str, ...] = ()
    fed: Mapping[str, ValueRange] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return dataclasses.asdict(self) | {
            "inputs": [dataclasses.asdict(each) for each in self.inputs],
            "orientations": [list(each) for each in self.orientations],
            "features": list(self.features),
            "fed": {name: dataclasses.asdict(values) for name, values in self.fed.items()},
        }


def channel_ranges(
    inputs: npt.NDArray[np.floating[Any]], *, have_names: bool = False
) -> tuple[ValueRange, ...]:
    """Ranges of a batch's values, by channel.

    Args:
      inputs: (n, H, W, C), (n, T, W) or (n, W), n at least 1. The last axis holds channels, series
        or features.
      have_names: Whether these have names, by which more of them can be read.

    >>> len(channel_ranges(np.zeros((2, 4, 4, 3)))), len(channel_ranges(np.zeros((2, 500))))
    (3, 1)
    """
    if inputs.shape[-1] > (_MOST_FEATURES if have_names else _MOST_CHANNELS):
        return (ValueRange.of(inputs),)
    return tuple(ValueRange.of(inputs[..., channel]) for channel in range(inputs.shape[-1]))


def labels_seen(labels: npt.NDArray[np.integer[Any]]) -> LabelsSeen | None:
    """What the labels of examples are; None where they have none."""
    known = labels[labels != NO_LABEL]
    if not len(known):
        return None
    return LabelsSeen(int(known.min()), int(known.max()), len(np.unique(known)))


def outputs_seen(
    outputs: npt.NDArray[np.floating[Any]],
    activation: str | None,
    *,
    are_classes: bool,
    is_paired: bool = False,
) -> OutputsSeen:
    """What kind of outputs these are.

    Args:
      outputs: (n, ...), n at least 1.
      activation: `softmax` or `sigmoid` where the model's graph ends in it; else None.
      are_classes: Whether they are (n, classes).
      is_paired: Whether they are one score, read as those of two classes.
    """
    kind, by_graph = _kind(outputs, activation, are_classes=are_classes)
    confidence = None
    if are_classes and np.isfinite(outputs).all():
        # A logit z is read as (-z, z), twice as far apart as those of its sigmoid.
        logits = outputs / 2 if is_paired else outputs
        probabilities = outputs if kind in ("softmax", "sigmoid") else _softmax(logits)
        confidence = float(probabilities.max(axis=-1).mean())
    return OutputsSeen(kind, by_graph, ValueRange.of(outputs), confidence)


def _kind(
    outputs: npt.NDArray[np.floating[Any]], activation: str | None, *, are_classes: bool
) -> tuple[OutputKind, bool]:
    if activation == "softmax":
        return "softmax", True
    if activation == "sigmoid":
        return "sigmoid", True
    if not are_classes:
        return "numbers", False
    within = bool((outputs >= 0).all() and (outputs <= 1).all())
    if within and (np.abs(outputs.sum(axis=-1) - 1) < _SUM_TOLERANCE).all():
        return "softmax", False
    return ("sigmoid" if within and outputs.size >= _CELLS_THAT_TELL else "logits"), False


def _softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def orientations(images: Iterable[bytes]) -> tuple[tuple[int, int], ...]:
    """How many images have which EXIF orientation, of those that are not upright.

    >>> orientations([b"no image"])
    ()
    """
    counts: collections.Counter[int] = collections.Counter()
    for data in images:
        try:
            with Image.open(io.BytesIO(data)) as image:  # its header only
                found = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue  # decoding says what is wrong with it
        if found != _UPRIGHT and isinstance(found, int):
            counts[found] += 1
    return tuple(sorted(counts.items()))


def look(
    file: str,
    examples: Examples,
    *,
    decoded: npt.NDArray[np.float32],
    scaled: npt.NDArray[np.float32],
    table: pa.Table,
    outputs: OutputsSeen | None,
    features: tuple[str, ...] = (),
    fed: Mapping[str, npt.NDArray[Any]] | None = None,
) -> FirstLook:
    """Puts together what is known of the first examples.

    Args:
      file: The input file they are from.
      examples: The examples.
      decoded: (n, ...) their inputs before the scale, of those that can be decoded.
      scaled: (n, ...) the same as the model gets them.
      table: What explaining them gave, as an atlas stores it.
      outputs: What the model makes of them.
      features: Names of the inputs, of a table.
      fed: Name of another input -> (n, ...) what feeds it.
    """
    explained, correct, labelled = _predictions(table)
    encoded: Sequence[bytes] = examples.inputs if isinstance(examples.inputs, tuple) else ()
    return FirstLook(
        file=file,
        examples=explained,
        different_ids=len(set(table["example_id"].to_pylist())),
        stored=ValueRange.of(decoded) if decoded.size else None,
        inputs=channel_ranges(scaled, have_names=bool(features)) if scaled.size else (),
        labels=labels_seen(examples.labels),
        predicted_correctly=correct,
        labelled=labelled,
        with_boxes=None
        if examples.boxes is None
        else sum(len(boxes) > 0 for boxes in examples.boxes),
        with_masks=None
        if examples.masks is None
        else sum(mask is not None for mask in examples.masks),
        empty_maps=sum(scale == 0 for scale in table["map_scale"].to_pylist()),
        outputs=outputs,
        orientations=orientations(encoded),
        features=features,
        fed={name: ValueRange.of(values) for name, values in (fed or {}).items() if values.size},
    )


def _predictions(table: pa.Table) -> tuple[int, int | None, int]:
    """How many examples there are, how many of them are right, and how many have a label."""
    rows = dict(zip(table["record"].to_pylist(), range(table.num_rows), strict=True))
    first = table.take(pa.array(sorted(rows.values()), pa.int64()))  # one row per example
    pairs = [
        (label, predicted)
        for label, predicted in zip(
            first["label"].to_pylist(), first["predicted"].to_pylist(), strict=True
        )
        if label is not None and predicted is not None
    ]
    correct = sum(label == predicted for label, predicted in pairs)
    return len(rows), correct if pairs else None, len(pairs)
