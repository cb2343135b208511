"""Step 3 of a run: who computes the gradient, and how many examples at once."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import numpy.typing as npt

from pipeline.config.keys import Config
from pipeline.run.inspect import FirstExamples, Inputs, first_examples
from pipeline.run.load import ModelOfRun
from transforms.elements import Examples
from transforms.errors import ConfigurationError
from transforms.formats.images.decoding import InputDecoder
from transforms.models.devices import has_gpu
from transforms.models.loading import LoadedModel
from transforms.saliency.batching.size import (
    BatchSizeChoice,
    fewest_examples,
    measure_batch_sizes,
    starting_batch_size,
)
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.engines.engine import AUTO, EngineSpec
from transforms.saliency.engines.selection import EngineChoice, choose_engine
from transforms.saliency.program import (
    ProgramSpec,
    attribution_function,
    check_first_outputs,
    map_function,
)
from transforms.storage import Storage
from transforms.store.manifest import Manifest

_SHARE_OF_RUN = 0.02  # of its time, to find a batch size
_LONGEST = 10.0  # seconds, for the same

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What explains the run's examples, and why it is that.

    Attributes:
      explainer: Compiled.
      engine: Who computes the gradient, and how that was decided.
      batch_size_measured: Rates by batch size; None where the size was given.
      first: What it was tried on; None where the first files hold no example.
    """

    explainer: BlockExplainer
    engine: EngineChoice
    batch_size_measured: BatchSizeChoice | None
    first: FirstExamples | None


def choose_explainer(
    config: Config,
    inputs: Inputs,
    loaded: ModelOfRun,
    recorded: Manifest | None,
    storage: Storage,
) -> Choice:
    """Chooses engine and batch size, as given, as an atlas has them, or by trying.

    Args:
      config: The configuration.
      inputs: What is explained.
      loaded: By which model.
      recorded: The manifest of the atlas that is being completed.
      storage: Where the inputs are.

    Raises:
      ConfigurationError: The engine or batch size that is asked for cannot be used here, or the
        model is not a function of its input.
    """
    fixed = _fixed_batch_size(config, loaded.model, recorded)
    start = fixed or starting_batch_size(inputs.spec.shape, on_gpu=has_gpu())
    spec = _explain_spec(config, inputs, loaded, start)
    first = first_examples(inputs, storage, min(start, config.output.block_size))
    examples = None if first is None else first.examples
    check_first_outputs(loaded.model, spec.program, _first_batch(spec.program, examples)[0])
    engine = _decide_engine(config, recorded, loaded, spec.program, examples)
    for note in engine.notes:
        _LOGGER.info("engine: %s", note)
    program = dataclasses.replace(spec.program, engine=engine.spec)
    spec = dataclasses.replace(spec, program=program)
    explainer = BlockExplainer(loaded.model, spec, engine.compiled)
    measured = None
    if fixed is None:
        measured = measure_batch_size(explainer, examples, inputs.records_estimated)
        explainer = explainer.resized(measured.size)
    return Choice(explainer, engine, measured, first)


def _explain_spec(
    config: Config, inputs: Inputs, loaded: ModelOfRun, batch_size: int
) -> ExplainSpec:
    return ExplainSpec(
        model=loaded.spec,
        program=ProgramSpec(
            inputs=inputs.spec,
            target=loaded.target,
            operator=config.explain.operator,
            method=config.explain.method,
            reducer=config.explain.reducer,
            codec=config.output.codec,
            batch_size=batch_size,
        ),
        threads=loaded.threads,
        sketch=config.statistics.sketch,
        with_boxes=config.source.features.boxes is not None,
    )


def _fixed_batch_size(config: Config, model: LoadedModel, recorded: Manifest | None) -> int | None:
    """The batch size where there is nothing to choose; None where it is to be measured.

    Raises:
      ConfigurationError: The configuration and the model want different ones.
    """
    given = config.explain.batch_size
    if given == "auto":
        # Another size may move the last bits of a gradient, so a resumed atlas keeps its own.
        return recorded.batch_size if recorded else model.batch
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


def _decide_engine(
    config: Config,
    recorded: Manifest | None,
    loaded: ModelOfRun,
    program: ProgramSpec,
    examples: Examples | None,
) -> EngineChoice:
    """Compiles the atlas's own engine, the configuration's, or the fastest that agrees.

    Raises:
      ConfigurationError: The engine that is asked for cannot be used here.
    """
    begun_with = recorded.engine if recorded and config.explain.engine == AUTO else None
    begun_in = None
    if recorded and config.explain.precision == AUTO:
        begun_in = recorded.settings["explain"]["precision"]
    wanted = EngineSpec(
        name=begun_with or config.explain.engine,
        precision=begun_in or config.explain.precision,
        threads=loaded.threads,
    )
    # What the atlas records of the comparison stays; it is not made again.
    batch, labels = _first_batch(program, None if begun_with else examples)
    function = attribution_function(loaded.model, program)
    try:
        return choose_engine(wanted, function, map_function(program), batch, labels)
    except ConfigurationError as error:
        if begun_with is None:
            raise
        raise ConfigurationError(
            f"the atlas was begun with engine {begun_with!r}: {error}, in an atlas of its own"
        ) from error


def _first_batch(
    program: ProgramSpec, examples: Examples | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Up to a batch of inputs and labels, without those that cannot be decoded."""
    if examples is None:
        return np.empty((0, *program.inputs.decoded_shape), np.float32), np.empty(0, np.int32)
    inputs, faults = InputDecoder(program.inputs).decode(examples.inputs)
    good = [row for row, fault in enumerate(faults) if fault is None][: program.batch_size]
    return inputs[good], examples.labels[good]
