"""What looks wrong in what the model gets: facts that a user should know, and where to look.

None of them stops a run, as each may be as it should be. They are said only where what is seen is
far from what can be meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.run.first_look.look import FirstLook, ValueRange
from transforms.formats.source import ChannelScale, InputSpec
from transforms.models.expectations import LayerMoments, Rescaled
from transforms.saliency.contract.method import Sign

_UNIT = 1.0  # where values end that have been divided by 255
_BEYOND_UNIT = 4.0  # values up to here may be standardised ones
_SMALLEST_PLAUSIBLE, _LARGEST_PLAUSIBLE = 1e-15, 1e15  # the largest value of several inputs
_SURE = 0.8  # mean probability of what is predicted
_FEWEST_LABELLED = 8
_AS_GUESSING = 0.2
_IMPROBABLE = 1e-3


def doubts(
    look: FirstLook,
    spec: InputSpec,
    classes: int | None,
    rescaling: Rescaled | None,
    moments: LayerMoments | None,
    *,
    layer: str | None = None,
    sign: Sign = "absolute",
) -> Iterator[str]:
    """Yields what looks wrong, a sentence each.

    Args:
      look: What is there.
      spec: What the configuration makes of inputs.
      classes: How many the model tells apart; None where its outputs are none.
      rescaling: The model's first layer, where it is a `Rescaling`.
      moments: What its first normalising layer was trained on, and what it is given.
      layer: The layer that the method explains; None where it explains none.
      sign: What is kept of the method's values.
    """
    about_scale = list(_scale_doubts(look, spec, rescaling))
    yield from about_scale
    if moments is not None and not about_scale:
        doubt = moments.doubt()
        if doubt is not None:
            yield f"{doubt}: is source.input.scale what the model was trained with?"
    if look.different_ids < look.examples:
        yield (
            f"the first {look.examples} examples have {look.different_ids} different ids, by which "
            "they cannot be told apart: is source.features.id the right feature?"
        )
    yield from _label_doubts(look, classes)
    yield from _output_doubts(look, classes)
    if look.empty_maps and look.empty_maps == look.examples:
        what = "the input" if layer is None else f"what the layer {layer!r} returns"
        change = "speaks for" if sign == "positive" else "changes"
        why = f"nothing in {what} {change} the explained score"
        if layer is not None:
            why += "; name another layer by explain.layer (plan lists them)"
            if sign == "positive":
                why += ", or keep what speaks against the score by explain.sign: signed"
        yield f"the maps of all the first {look.examples} examples are zero throughout: {why}"


def _scale_doubts(look: FirstLook, spec: InputSpec, rescaling: Rescaled | None) -> Iterator[str]:
    if look.stored is None:
        return
    stored, whole = look.stored, _whole(look.inputs)
    shown = f"{stored.low:.3g} to {stored.high:.3g}"
    if stored.low == stored.high:
        yield (
            f"every value of the first examples' inputs is {stored.low:.3g}: is "
            "source.features.input the right feature?"
        )
        return
    largest = max(abs(stored.low), abs(stored.high))
    if not _SMALLEST_PLAUSIBLE < largest < _LARGEST_PLAUSIBLE:
        yield (
            f"the first examples' values are {shown}, as bytes of another type look: is "
            "source.input.dtype that of the data?"
        )
        return
    within_unit = stored.low >= -_UNIT and stored.high <= _UNIT
    if spec.scale in ("unit", "symmetric") and within_unit:
        yield (
            f"source.input.scale is {spec.scale!r}, which divides by 255, but the first examples' "
            f"values are {shown} already: leave it out"
        )
    elif isinstance(spec.scale, ChannelScale):
        small = max(map(abs, (*spec.scale.mean, *spec.scale.std))) <= _UNIT
        numbers = f"mean {list(spec.scale.mean)} and std {list(spec.scale.std)}"
        if small and spec.kind == "image":
            yield (
                f"source.input.scale has {numbers}, which are for values in 0..1, but images' are "
                "0..255: multiply each by 255"
            )
        elif not small and within_unit and min(spec.scale.std) > _BEYOND_UNIT:
            yield (
                f"source.input.scale has {numbers}, which are for values in 0..255, but the first "
                f"examples' are {shown}: divide each by 255"
            )
    elif rescaling is not None:
        doubt = rescaling.doubt(whole.low, whole.high)
        if doubt is not None:
            remedy = (
                "give it what images hold, with source.input.scale: none"
                if spec.scale != "none"
                else "store values up to 255, or give a model without that layer"
            )
            yield f"{doubt}: {remedy}"


def _whole(ranges: tuple[ValueRange, ...]) -> ValueRange:
    means = [each.mean for each in ranges]
    return ValueRange(
        min(each.low for each in ranges),
        sum(means) / len(means),
        max(each.high for each in ranges),
    )


def _label_doubts(look: FirstLook, classes: int | None) -> Iterator[str]:
    labels = look.labels
    if labels is None or classes is None:
        return
    if labels.low >= 1 and labels.high == classes:
        yield (
            f"the first examples' labels are {labels.low} to {labels.high}, the model's classes 0 "
            f"to {classes - 1}: labels that count from 1 name the next class; let them count from 0"
        )
    elif labels.high >= classes:
        yield (
            f"the first examples' labels go up to {labels.high}, but the model's classes are 0 to "
            f"{classes - 1}: examples with other labels fail"
        )


def _output_doubts(look: FirstLook, classes: int | None) -> Iterator[str]:
    outputs = look.outputs
    if outputs is None:
        return
    if outputs.kind == "softmax" and not outputs.by_graph:
        yield (
            "the model's outputs are in 0..1 and sum to 1, as probabilities do, whose gradients "
            "vanish where the model is sure: explain its logits, with a model that returns them"
        )
    correct, labelled = look.predicted_correctly, look.labelled
    if correct is None or classes is None or outputs.confidence is None:
        return
    guessing = _at_least(correct, labelled, 1 / classes) > _AS_GUESSING
    surprising = _at_most(correct, labelled, outputs.confidence) < _IMPROBABLE
    if (
        labelled >= _FEWEST_LABELLED
        and outputs.confidence > _SURE
        and classes > 1
        and guessing
        and surprising
    ):
        yield (
            f"{correct} of the first {labelled} labelled examples are predicted correctly, no more "
            f"than by guessing, though the model is {outputs.confidence:.0%} sure in the mean: are "
            "source.input.scale and the order of the classes those that it was trained with?"
        )


def _at_least(successes: int, trials: int, probability: float) -> float:
    """Probability of so many successes or more (binomial)."""
    return math.fsum(_mass(k, trials, probability) for k in range(successes, trials + 1))


def _at_most(successes: int, trials: int, probability: float) -> float:
    return math.fsum(_mass(k, trials, probability) for k in range(successes + 1))


def _mass(successes: int, trials: int, probability: float) -> float:
    ways = math.comb(trials, successes)
    return ways * probability**successes * (1 - probability) ** (trials - successes)
