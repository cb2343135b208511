"""What is seen in the first examples, and what is doubted of it; no model, no TensorFlow."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.run.first_look.doubts import doubts
from pipeline.run.first_look.look import (
    FirstLook,
    LabelsSeen,
    OutputsSeen,
    ValueRange,
    channel_ranges,
    labels_seen,
    orientations,
    outputs_seen,
)
from transforms.formats.source import ChannelScale, InputSpec, NamedScale
from transforms.models.expectations import Rescaled

SPEC = InputSpec("image", (8, 8, 3), scale="unit")
LOGITS = OutputsSeen("logits", False, ValueRange(-9.0, 0.0, 9.0), 0.95)
LOOK = FirstLook(
    file="a.tfrecord",
    examples=16,
    different_ids=16,
    stored=ValueRange(0.0, 100.0, 255.0),
    inputs=(ValueRange(0.0, 0.4, 1.0),),
    labels=LabelsSeen(0, 9, 8),
    predicted_correctly=14,
    labelled=16,
    with_boxes=None,
    with_masks=None,
    empty_maps=1,
    outputs=LOGITS,
    orientations=(),
)
TENSOR = InputSpec("tensor", (8,))


def said(
    look: FirstLook = LOOK,
    spec: InputSpec = SPEC,
    classes: int | None = 10,
    rescaling: Rescaled | None = None,
    **explained: Any,
) -> list[str]:
    return list(doubts(look, spec, classes, rescaling, None, **explained))


def seen(**changes: object) -> FirstLook:
    return dataclasses.replace(LOOK, **changes)  # type: ignore[arg-type]


def test_nothing_is_doubted_where_nothing_is_wrong() -> None:
    assert said() == []
    assert said(seen(labels=None, predicted_correctly=None, labelled=0, outputs=None)) == []
    assert said(spec=InputSpec("image", (8, 8, 3))) == []


def test_ranges_are_by_channel() -> None:
    batch = np.stack([np.full((2, 4), 3.0), np.arange(8.0).reshape(2, 4)], axis=-1)
    assert channel_ranges(batch) == (ValueRange(3.0, 3.0, 3.0), ValueRange(0.0, 3.5, 7.0))
    assert channel_ranges(np.arange(34.0).reshape(2, 17)) == (ValueRange(0.0, 16.5, 33.0),)


def test_labels_are_seen_less_those_that_are_missing() -> None:
    assert labels_seen(np.array([4, -1, 2, 4])) == LabelsSeen(2, 4, 2)
    assert labels_seen(np.array([-1])) is None


@pytest.mark.parametrize(
    ("rows", "kind", "confidence"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], "softmax", 0.625),
        ([[0.0, np.log(3.0)]], "logits", 0.75),
        ([[0.2, 0.9]] * 16, "sigmoid", 0.9),
        ([[0.2, 0.9]], "logits", np.exp(0.7) / (1 + np.exp(0.7))),  # too few to tell
    ],
)
def test_outputs_are_told_by_their_values(
    rows: list[list[float]], kind: str, confidence: float
) -> None:
    found = outputs_seen(np.array(rows), None, are_classes=True)
    assert (found.kind, found.by_graph) == (kind, False)
    assert found.confidence == pytest.approx(confidence)


def test_one_logit_is_as_sure_as_its_sigmoid() -> None:
    logits = np.log([[1 / 3, 3.0]])  # -z, z

    found = outputs_seen(logits, None, are_classes=True, is_paired=True)

    assert found.confidence == pytest.approx(0.75)


def test_outputs_are_told_by_the_graph_first() -> None:
    found = outputs_seen(np.array([[0.5, 0.5]]), "sigmoid", are_classes=True)
    assert (found.kind, found.by_graph) == ("sigmoid", True)
    numbers = outputs_seen(np.array([[0.5, 0.5]]), None, are_classes=False)
    assert (numbers.kind, numbers.confidence) == ("numbers", None)


def jpeg(orientation: int | None) -> bytes:
    image, stream = Image.new("RGB", (4, 4)), io.BytesIO()
    exif = image.getexif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def test_orientations_that_are_not_upright_are_counted() -> None:
    images = [jpeg(6), jpeg(None), jpeg(3), jpeg(1), jpeg(6), b"\xff\xd8\xff", b""]
    assert orientations(images) == ((3, 1), (6, 2))


UNIT = ValueRange(0.0, 0.5, 1.0)
IMAGENET = ChannelScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OF_BYTES = ChannelScale((124.0, 116.0, 104.0), (58.0, 57.0, 57.0))


@pytest.mark.parametrize("scale", ["unit", "symmetric"])
def test_values_that_are_scaled_twice_are_doubted(scale: NamedScale) -> None:
    (doubt,) = said(seen(stored=UNIT), dataclasses.replace(SPEC, scale=scale))
    assert doubt == (
        f"source.input.scale is {scale!r}, which divides by 255, but the first examples' values "
        "are 0 to 1 already: leave it out"
    )


def test_means_for_other_units_are_doubted() -> None:
    (doubt,) = said(spec=dataclasses.replace(SPEC, scale=IMAGENET))
    assert "which are for values in 0..1, but images' are 0..255: multiply each by 255" in doubt
    (doubt,) = said(seen(stored=UNIT), dataclasses.replace(SPEC, scale=OF_BYTES))
    assert "divide each by 255" in doubt
    assert said(spec=dataclasses.replace(SPEC, scale=OF_BYTES)) == []


def test_a_rescaling_that_gets_small_values_is_doubted() -> None:
    rescaling = Rescaled("rescaling", 1 / 255, 0.0)
    (doubt,) = said(rescaling=rescaling)
    assert doubt.endswith("give it what images hold, with source.input.scale: none")
    look = seen(inputs=(ValueRange(0.0, 100.0, 255.0),))
    assert said(look, InputSpec("image", (8, 8, 3)), rescaling=rescaling) == []


def test_values_that_are_all_the_same_are_doubted() -> None:
    (doubt,) = said(seen(stored=ValueRange(7.0, 7.0, 7.0)), TENSOR)
    assert doubt.startswith("every value of the first examples' inputs is 7: is source.features")


@pytest.mark.parametrize("high", [1e-43, 3e38])
def test_bytes_of_another_type_are_doubted(high: float) -> None:
    (doubt,) = said(seen(stored=ValueRange(0.0, 0.0, high)), TENSOR)
    assert "as bytes of another type look: is source.input.dtype that of the data?" in doubt


def test_ids_that_are_not_unique_are_doubted() -> None:
    (doubt,) = said(seen(different_ids=3))
    assert doubt.startswith("the first 16 examples have 3 different ids")


def test_labels_that_count_from_one_are_doubted() -> None:
    (doubt,) = said(seen(labels=LabelsSeen(1, 10, 7)))
    assert "labels are 1 to 10, the model's classes 0 to 9: labels that count from 1" in doubt
    (doubt,) = said(seen(labels=LabelsSeen(0, 12, 7)))
    assert "labels go up to 12, but the model's classes are 0 to 9" in doubt
    assert said(seen(labels=LabelsSeen(1, 9, 7))) == []
    assert said(seen(labels=LabelsSeen(1, 10, 7)), classes=None) == []


def test_a_sure_model_that_guesses_is_doubted() -> None:
    (doubt,) = said(seen(predicted_correctly=2))
    assert doubt.startswith(
        "2 of the first 16 labelled examples are predicted correctly, no more than by guessing, "
        "though the model is 95% sure in the mean"
    )
    unsure = dataclasses.replace(LOGITS, confidence=0.3)
    assert said(seen(predicted_correctly=2, outputs=unsure)) == []
    assert said(seen(predicted_correctly=8)) == []  # bad, but not guessing
    assert said(seen(predicted_correctly=2, labelled=4)) == []  # too few to tell


def test_probabilities_that_only_values_show_are_doubted() -> None:
    (doubt,) = said(seen(outputs=OutputsSeen("softmax", False, UNIT, 0.9)))
    assert doubt.startswith("the model's outputs are in 0..1 and sum to 1")
    assert said(seen(outputs=OutputsSeen("softmax", True, UNIT, 0.9))) == []  # said elsewhere


def test_maps_that_are_all_empty_are_doubted() -> None:
    (doubt,) = said(seen(empty_maps=16))
    assert doubt == (
        "the maps of all the first 16 examples are zero throughout: nothing in the input changes "
        "the explained score"
    )
    for sign, said_of_layer in (
        (
            "positive",
            "nothing in what the layer 'boxes/conv' returns speaks for the explained score; name "
            "another layer by explain.layer (plan lists them), or keep what speaks against the "
            "score by explain.sign: signed",
        ),
        (
            "signed",
            "nothing in what the layer 'boxes/conv' returns changes the explained score; name "
            "another layer by explain.layer (plan lists them)",
        ),
    ):
        (doubt,) = said(seen(empty_maps=16), layer="boxes/conv", sign=sign)
        assert doubt.partition("throughout: ")[2] == said_of_layer
    assert said(seen(empty_maps=15), layer="boxes/conv") == []


def test_the_look_is_made_of_jsons_types() -> None:
    made = dataclasses.replace(LOOK, orientations=((6, 2),)).as_dict()
    assert made["inputs"] == [{"low": 0.0, "mean": 0.4, "high": 1.0}]
    assert made["orientations"] == [[6, 2]]
    assert made["outputs"]["kind"] == "logits"
