"""Confirms or clears candidates: reads examples again, loads the model, runs the experiment."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.atlas import Atlas
from pipeline.audit.shortcuts.candidates import Candidate
from pipeline.audit.shortcuts.shortcut import Shortcut
from pipeline.audit.shortcuts.trying import Screened
from pipeline.config.keys import Config
from pipeline.confirm.effects import judge, mask_effect, transplant_effect
from pipeline.confirm.experiment import (
    FEWEST_MEASURED,
    NOT_FINITE,
    Predict,
    Subject,
    few_images,
    measure_masking,
    measure_transplants,
)
from pipeline.confirm.interventions import Image, Mask, mask_of_cells
from pipeline.confirm.property_changes import Images
from pipeline.confirm.property_experiment import try_property
from pipeline.confirm.screening import SCREENING_IMAGES, screen
from pipeline.confirm.selection import (
    choose_examples,
    choose_for_screening,
    choose_labelled,
    peak_masks,
)
from pipeline.rereading import Place, read_inputs
from pipeline.run.load import model_spec
from transforms.errors import ConfigurationError
from transforms.models.loading import load_model
from transforms.saliency.prediction import predictor
from transforms.saliency.scores.operators import output_reading, resolve_operator
from transforms.statistics.columns import INPUT_SIZES
from transforms.storage import Storage

_LOGGER = logging.getLogger(__name__)

MAX_EXAMPLES = 100
"""Images of a class, and of the others, per candidate: twice what a verdict takes."""

_LARGEST_SHARE = 0.25  # Of an image, that a mask may cover.


class Confirmer:
    """An atlas's model and inputs, ready for experiments; the model is loaded once.

    Args:
      atlas: The atlas, of images.
      storage: Where its input files and its model are.
      min_effect: `audit.min_effect`, a share of a class's median margin.
      confidence: Of the intervals.

    Raises:
      ConfigurationError: The atlas is not of labelled images and class scores, or its model is not
        there.
      RunError: The model is another than the atlas was made with.
    """

    def __init__(
        self, atlas: Atlas, storage: Storage, min_effect: float, confidence: float
    ) -> None:
        self._atlas = atlas
        self._storage = storage
        self._min_effect = min_effect
        self._confidence = confidence
        self._config = Config.from_dict(atlas.manifest["config"])
        if self._config.source.input.kind != "image":
            raise ConfigurationError(
                f"{atlas.path} explains tensors: masking and pasting are for images; audit it "
                "without --confirm"
            )
        if self._config.fed_inputs:
            raise ConfigurationError(
                f"{atlas.path} is of a model whose other inputs are fed from features "
                "(model.inputs.features), which masked and pasted images have none of: audit it "
                "without --confirm"
            )
        if self._config.source.features.label is None:
            raise ConfigurationError(
                f"{atlas.path} has no labels (source.features.label), so which images to try is "
                "not known: audit it without --confirm"
            )
        self._predict = self._load()
        self._screened: tuple[int, dict[Place, Image]] = -1, {}
        self._exchanged: tuple[int, dict[int, Images]] = -1, {}

    def confirm(self, candidate: Candidate) -> Shortcut:
        """Tries a candidate on examples that had no part in finding it.

        Returns:
          The finding with what masking and pasting did, or exchanging a property, and the verdict;
          with the reason (`untried`) where there are fewer than two images to try, of a property
          that cannot be exchanged, and of maps so small that the surroundings of a peak are more
          than a quarter of them.

        Raises:
          RunError: An input file cannot be read any more.
        """
        if candidate.finding.indicator == "property":
            return self._confirm_property(candidate)
        chosen = choose_examples(self._atlas, candidate.finding.class_number, MAX_EXAMPLES)
        inputs = self._read([*chosen.own, *chosen.others])
        masks = self._masks(candidate, chosen.own)
        if any(mask.mean() > _LARGEST_SHARE for mask in masks.values()):
            return candidate.finding.not_tried(
                "the surroundings of a peak are more than a quarter of maps as small as these, and "
                "masking them masks the object",
            )
        subjects = [
            Subject(place.example_id, inputs[place], masks[place])
            for place in chosen.own
            if place in inputs and place in masks
        ]
        others: list[Image] = [inputs[place] for place in chosen.others if place in inputs]
        return try_on_model(
            candidate.finding,
            subjects,
            others,
            self._predict,
            min_effect=self._min_effect,
            confidence=self._confidence,
        )

    def screen(self, proposal: Candidate) -> Screened | None:
        """Masks a few examples of half a that the model recognises.

        Returns:
          None of a property, of maps so small that the surroundings of a peak are more than a
          quarter of them, and where too few examples are recognised.

        Raises:
          RunError: An input file cannot be read any more.
        """
        target = proposal.finding.class_number
        if proposal.finding.indicator == "property":
            return None
        if self._screened[0] != target:  # Proposals come class by class: one's images are kept.
            places = choose_for_screening(self._atlas, target, SCREENING_IMAGES)
            self._screened = target, self._read(places)
        inputs = self._screened[1]
        masks = self._masks(proposal, [*inputs])
        if any(mask.mean() > _LARGEST_SHARE for mask in masks.values()):
            return None
        subjects = [Subject(place.example_id, inputs[place], mask) for place, mask in masks.items()]
        return screen(subjects, target, self._predict, generator_of)

    def _confirm_property(self, candidate: Candidate) -> Shortcut:
        finding = candidate.finding
        if finding.statistic in INPUT_SIZES:
            return finding.not_tried("how large a file's image was cannot be changed")
        if finding.class_number != self._exchanged[0]:
            self._exchanged = finding.class_number, {}
        return try_property(
            finding,
            self._atlas.classes,
            self._images_of,
            self._predict,
            stands_out=candidate.stands_out,
            min_effect=self._min_effect,
            confidence=self._confidence,
        )

    def _images_of(self, classes: Sequence[int]) -> dict[int, Images]:
        """Images of classes, of half b; kept for the next property, and let go if it has no use."""
        kept = {each: self._exchanged[1][each] for each in classes if each in self._exchanged[1]}
        self._exchanged = self._exchanged[0], kept  # What has no use goes before more is read.
        missing = [each for each in classes if each not in kept]
        chosen = {each: choose_labelled(self._atlas, each, MAX_EXAMPLES) for each in missing}
        inputs = self._read([place for places in chosen.values() for place in places])
        shape = self._config.input_spec().decoded_shape
        for each, places in chosen.items():
            found = [inputs.pop(place) for place in places if place in inputs]
            kept[each] = np.stack(found) if found else np.zeros((0, *shape), np.float32)
        return kept

    def _read(self, wanted: Sequence[Place]) -> dict[Place, Image]:
        inputs = dict(read_inputs(self._config, self._atlas.shards, wanted, self._storage))
        if len(inputs) < len(wanted):
            _LOGGER.warning(
                "%d of %d examples are not in the input files any more: they are left out",
                len(wanted) - len(inputs),
                len(wanted),
            )
        return inputs

    def _masks(self, candidate: Candidate, places: Sequence[Place]) -> dict[Place, Mask]:
        """Where each image is masked: the region, or where its own map peaks."""
        if candidate.cells is None:
            return peak_masks(self._atlas, places)
        mask = mask_of_cells(candidate.cells, *self._config.input_spec().positions)
        return dict.fromkeys(places, mask)

    def _load(self) -> Predict:
        config, manifest = self._config, self._atlas.manifest
        inputs = config.input_spec()
        wanted = dataclasses.replace(
            model_spec(config, inputs.shape, self._storage), digest=manifest["model"]["digest"]
        )
        operator = resolve_operator(config.explain.operator)
        model = load_model(wanted, self._storage).read_as(output_reading(operator))
        if (model.classes or 0) < 2:  # noqa: PLR2004 - a margin is to another class
            raise ConfigurationError(
                f"{self._atlas.path} explains other outputs than scores of classes, which have no "
                "margin: audit it without --confirm"
            )
        return predictor(model, inputs)


def try_on_model(
    finding: Shortcut,
    subjects: Sequence[Subject],
    others: Sequence[Image],
    predict: Predict,
    *,
    min_effect: float,
    confidence: float,
) -> Shortcut:
    """Masks images of a class, pastes from them, and judges what the model makes of it.

    Args:
      finding: The candidate.
      subjects: Images of its class, none of which had a part in finding it.
      others: Images of other classes.
      predict: The model.
      min_effect: `audit.min_effect`, a share of the class's median margin.
      confidence: Of the intervals.

    Returns:
      The finding with what was found; with the reason where there are fewer than two images of
      either.
    """
    # Two differences have a mean and a deviation; what fewer than 50 say is no verdict.
    count = min(len(subjects), len(others))
    if count < FEWEST_MEASURED:
        return finding.not_tried(few_images(len(subjects), len(others)))
    experiment = (subjects[:count], others[:count], finding.class_number, predict, generator_of)
    masking, pasting = measure_masking(*experiment), measure_transplants(*experiment)
    if min(len(masking.margins), len(pasting.rises)) < FEWEST_MEASURED:
        return finding.not_tried(NOT_FINITE)
    mask, transplant = mask_effect(masking, confidence), transplant_effect(pasting, confidence)
    found: dict[str, Any] = {"mask": mask, "transplant": transplant}
    if finding.verdict == "candidate":
        found["verdict"] = judge(finding.indicator, mask, transplant, min_effect, confidence)
    return finding.model_copy(update=found)


def generator_of(example_id: str) -> np.random.Generator:
    """Random numbers of an example: the same in every audit, whatever else is in it."""
    digest = hashlib.sha256(example_id.encode(errors="surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
