"""The batch size of a run: what it is told, what an atlas has, or what was measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pipeline.config.keys import Config
from transforms.elements import Examples
from transforms.errors import ConfigurationError
from transforms.models.loading import LoadedModel
from transforms.saliency.batching.size import BatchSizeChoice, fewest_examples, measure_batch_sizes
from transforms.saliency.block import BlockExplainer

_SHARE_OF_RUN = 0.02
_LONGEST = 10.0  # seconds

_LOGGER = logging.getLogger(__name__)


def fixed_batch_size(config: Config, model: LoadedModel, recorded: Mapping[str, Any]) -> int | None:
    """The batch size where there is nothing to choose; None where it is to be measured.

    Args:
      config: The configuration.
      model: Which may take batches of one size only.
      recorded: The manifest of the atlas that is being completed, or nothing.

    Raises:
      ConfigurationError: The configuration and the model want different ones.
    """
    given = config.explain.batch_size
    if given == "auto":
        # Another size may move the last bits of a gradient, so a resumed atlas keeps its own.
        return recorded.get("batch_size") or model.batch
    if model.batch not in (None, given):
        raise ConfigurationError(
            f"explain.batch_size is {given}, the model takes batches of {model.batch} only: "
            "give that, or auto"
        )
    return given


def measure_batch_size(
    explainer: BlockExplainer, examples: Examples | None, records: int
) -> BatchSizeChoice:
    """Tries batch sizes on the first examples, for at most 2 % of the time the run will take.

    Where none can be explained the explainer's own size stays, and a warning says so; it stays
    in a run that is too short to pay for measuring, too.

    Args:
      explainer: Compiled, with the size to start from.
      examples: The first ones; None where there are none.
      records: How many the run will explain.
    """
    start = explainer.spec.program.batch_size
    choice = BatchSizeChoice(start, {})
    if examples is not None:
        timer, affordable = explainer.batch_timer(examples), _SHARE_OF_RUN * records
        if affordable < fewest_examples(timer, start):
            _LOGGER.info(
                "explain.batch_size: auto is %d: %d examples are too few to try others",
                start,
                records,
            )
            return choice
        choice = measure_batch_sizes(timer, start, affordable, _LONGEST)
    if not choice.examples_per_second:
        _LOGGER.warning(
            "explain.batch_size: auto could not be measured, as none of the first examples can be "
            "explained, so it is %d",
            start,
        )
    return choice
