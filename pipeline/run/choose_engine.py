"""Which engine a run uses: the atlas's own, the configuration's, or the fastest that agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.keys import Config
from transforms.elements import Examples
from transforms.errors import ConfigurationError
from transforms.formats.images.decoding import InputDecoder
from transforms.models.loading import LoadedModel
from transforms.saliency.engines.engine import AUTO, EngineSpec
from transforms.saliency.engines.selection import EngineChoice, choose_engine
from transforms.saliency.program import ProgramSpec, attribution_function, map_function


def decide_engine(
    config: Config,
    recorded: Mapping[str, Any],
    model: LoadedModel,
    program: ProgramSpec,
    *,
    threads: int,
    examples: Examples | None,
) -> EngineChoice:
    """Compiles the engine a run uses.

    Args:
      config: The configuration.
      recorded: The manifest of the atlas that is resumed, or nothing.
      model: What is explained.
      program: What is computed; its engine is not looked at.
      threads: CPU threads.
      examples: The first ones, which engines are compared on; None where there are none.

    Raises:
      ConfigurationError: The engine that is asked for cannot be used here.
    """
    begun_with = recorded.get("engine")
    resumed = begun_with is not None and config.explain.engine == AUTO
    wanted = EngineSpec(
        name=str(begun_with) if resumed else config.explain.engine,
        precision=config.explain.precision,
        threads=threads,
    )
    # What the atlas records of the comparison stays; it is not made again.
    inputs, labels = _first_batch(program, None if resumed else examples)
    function = attribution_function(model, program)
    try:
        return choose_engine(wanted, function, map_function(program), inputs, labels)
    except ConfigurationError as error:
        if not resumed:
            raise
        raise ConfigurationError(
            f"the atlas was begun with engine {begun_with!r}: {error}, in an atlas of its own"
        ) from error


def _first_batch(
    program: ProgramSpec, examples: Examples | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Up to a batch of inputs and labels, without those that cannot be decoded."""
    if examples is None:
        return np.empty((0, *program.inputs.shape), np.float32), np.empty(0, np.int32)
    inputs, faults = InputDecoder(program.inputs).decode(examples.inputs)
    good = [row for row, fault in enumerate(faults) if fault is None][: program.batch_size]
    return inputs[good], examples.labels[good]
