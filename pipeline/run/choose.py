"""Step 3 of a run: who computes the gradient, and how many examples at once."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from pipeline.config.keys import Config
from pipeline.run.first_look.trial import DecodedExamples
from pipeline.run.inspect import (
    FirstExamples,
    Inputs,
    first_examples,
    require_labels,
    require_places,
)
from pipeline.run.load import ModelOfRun
from pipeline.run.progress import Announce, unheard
from transforms.elements import Examples
from transforms.errors import ConfigurationError
from transforms.models.devices import has_gpu
from transforms.models.loading import LoadedModel
from transforms.models.opening.own_code import uses_registered_code
from transforms.process.cache_folder import cache_folder
from transforms.saliency.batching.size import (
    BatchSizeChoice,
    fewest_examples,
    measure_batch_sizes,
    starting_batch_size,
)
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.engines.engine import AUTO, EngineSpec
from transforms.saliency.engines.function_digest import outside_operation
from transforms.saliency.engines.remembered import ChoiceMemory
from transforms.saliency.engines.selection import EngineChoice, choose_engine
from transforms.saliency.first_outputs.outputs import FirstOutputs
from transforms.saliency.first_outputs.remembered import find_first_outputs
from transforms.saliency.program import ProgramSpec, attribution_function, find_layer_of
from transforms.saliency.results import comparable_maps
from transforms.saliency.scores.operators import OPERATOR_NAMES
from transforms.storage import Storage
from transforms.store.manifest import Manifest

_SHARE_OF_RUN = 0.02  # of its time, to find a batch size
_LONGEST = 10.0  # seconds, for the same
_FEWEST_FIRST = 16  # examples to look at, whatever the batch size; a contact sheet shows as many
_TIMED_CALLS = 2  # of a method's, for the same

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What explains the run's examples, and why it is that.

    Attributes:
      explainer: Compiled.
      engine: Who computes the gradient, and how that was decided.
      batch_size_measured: Rates by batch size; None where the size was given.
      first: What it was tried on; None where the first files hold no example.
      decoded: The same, decoded.
      outputs: What the model makes of a batch of them; None where it refuses one.
    """

    explainer: BlockExplainer
    engine: EngineChoice
    batch_size_measured: BatchSizeChoice | None
    first: FirstExamples | None
    decoded: DecodedExamples
    outputs: FirstOutputs | None


def choose_explainer(
    config: Config,
    inputs: Inputs,
    loaded: ModelOfRun,
    recorded: Manifest | None,
    storage: Storage,
    *,
    announce: Announce = unheard,
) -> Choice:
    """Chooses engine and batch size, as given, as an atlas has them, or by trying.

    Args:
      config: The configuration.
      inputs: What is explained.
      loaded: By which model.
      recorded: The manifest of the atlas that is being completed.
      storage: Where the inputs are.
      announce: Is told which step begins.

    Raises:
      ConfigurationError: The engine or batch size that is asked for cannot be used here, or the
        model is not a function of its input.
    """
    fixed = _fixed_batch_size(config, loaded.model, recorded)
    start = fixed or starting_batch_size(inputs.spec.shape, on_gpu=has_gpu())
    spec = _explain_spec(config, inputs, loaded, start)
    spec = dataclasses.replace(spec, program=find_layer_of(loaded.model, spec.program))
    count = min(max(start, _FEWEST_FIRST), config.output.block_size)
    first = first_examples(inputs, storage, count)
    if first is not None:
        require_places(inputs, first, storage)
        if config.explain.target == "label":
            require_labels(inputs, first)
    examples = None if first is None else first.examples
    decoded = DecodedExamples.of(inputs.spec, examples, loaded.model.fed_inputs)
    batch = decoded.first(start)
    announce("running the model on the first examples")
    outputs = find_first_outputs(loaded.model, spec.program, batch.inputs, batch.beside)
    wants_any = AUTO in (config.explain.engine, config.explain.precision)
    announce("compiling and comparing engines" if wants_any else "compiling")
    engine = _decide_engine(config, recorded, loaded, spec.program, batch)
    for note in engine.notes:
        _LOGGER.info("engine: %s", note)
    program = dataclasses.replace(spec.program, engine=engine.spec)
    spec = dataclasses.replace(spec, program=program)
    explainer = BlockExplainer(loaded.model, spec, engine.compiled)
    measured = None
    if fixed is None:
        announce("measuring batch sizes")
        measured = measure_batch_size(explainer, examples, inputs.examples_estimated)
        explainer = explainer.resized(measured.size)
    return Choice(explainer, engine, measured, first, decoded, outputs)


def _explain_spec(
    config: Config, inputs: Inputs, loaded: ModelOfRun, batch_size: int
) -> ExplainSpec:
    form = config.map_form()
    return ExplainSpec(
        model=loaded.spec,
        program=ProgramSpec(
            inputs=inputs.spec,
            target=loaded.target,
            operator=config.explain.operator,
            method=config.method(),
            reducer=form.reducer,
            sign=form.sign,
            codec=config.output.codec,
            batch_size=batch_size,
            layer=config.layer(),
        ),
        threads=loaded.threads,
        sketch=config.statistics.sketch,
        with_boxes=config.source.features.boxes is not None,
        with_masks=config.source.features.mask is not None,
        regions=inputs.regions,
        slices=config.source.features.slices,
        thumbnail=config.thumbnail,
        features=config.table_features,
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
    # A method of many calls is timed by its first two, of which all others cost what they do.
    calls = explainer.spec.program.method.calls
    timed = min(calls, _TIMED_CALLS)
    if examples is not None:
        timer = explainer.shortened(timed).batch_timer(examples)
        affordable = _SHARE_OF_RUN * records * calls / timed
        if affordable < fewest_examples(timer, start):
            _LOGGER.info(
                "explain.batch_size: auto is %d: %d examples are too few to try others",
                start,
                records,
            )
            return choice
        found = measure_batch_sizes(timer, start, affordable, _LONGEST)
        rates = {size: rate * timed / calls for size, rate in found.examples_per_second.items()}
        choice = BatchSizeChoice(found.size, rates)
    if not choice.examples_per_second:
        _LOGGER.warning(
            "explain.batch_size: auto could not be measured, as none of the first examples can be "
            "explained, so it is %d",
            start,
        )
    return choice


def _memory(
    loaded: ModelOfRun,
    program: ProgramSpec,
    wanted: EngineSpec,
    examples: Sequence[npt.NDArray[Any]],
) -> ChoiceMemory | None:
    """Of what the same comparison came to earlier; None where it cannot be known to be the same."""
    folder = cache_folder()
    if folder is None or _runs_own_code(loaded, program):
        return None
    subject = f"{loaded.model.digest} {loaded.spec} {program}"
    return ChoiceMemory(folder, subject, wanted, examples)


def _runs_own_code(loaded: ModelOfRun, program: ProgramSpec) -> bool:
    """Whether code counts that is in no digest: neither in the model's file nor in a library.

    Code in the model's file (`allow_unsafe`) may call any other.
    """
    return (
        program.operator not in OPERATOR_NAMES
        or bool(loaded.spec.imports)
        or loaded.spec.allow_unsafe
        or uses_registered_code(loaded.model.function.keras_model)
        or outside_operation(loaded.model.traced) is not None
    )


def _decide_engine(
    config: Config,
    recorded: Manifest | None,
    loaded: ModelOfRun,
    program: ProgramSpec,
    batch: DecodedExamples,
) -> EngineChoice:
    """Compiles the atlas's own engine, the configuration's, or the fastest that agrees.

    Raises:
      ConfigurationError: The engine that is asked for cannot be used here.
    """
    begun_with = recorded.engine if recorded and config.explain.engine == AUTO else None
    begun_in = None
    if recorded and config.explain.precision == AUTO:
        begun_in = recorded.settings["explain"]["precision"]
    precision = begun_in or config.explain.precision
    if precision == AUTO and program.method.needs == "score":
        precision = "float32"  # There is no backward pass to be mixed.
    wanted = EngineSpec(
        name=begun_with or config.explain.engine,
        precision=precision,
        threads=loaded.threads,
    )
    # What the atlas records of the comparison stays; it is not made again.
    compared = batch.first(0) if begun_with else batch
    function = attribution_function(loaded.model, program)
    try:
        labels = program.first_labels(compared.labels)
        maps = comparable_maps(program)
        inputs, beside = compared.inputs, compared.beside
        memory = _memory(loaded, program, wanted, (inputs, labels, *beside))
        return choose_engine(wanted, function, maps, inputs, labels, beside, memory)
    except ConfigurationError as error:
        if begun_with is None:
            raise
        raise ConfigurationError(
            f"the atlas was begun with engine {begun_with!r}: {error}, in an atlas of its own"
        ) from error
