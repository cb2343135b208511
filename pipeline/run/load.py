"""Step 2 of a run: the model, loaded as every worker will load it, and what is asked of it."""

from __future__ import annotations

import dataclasses

from pipeline.config.keys import Config
from pipeline.run.inspect import Inputs
from transforms.models.devices import configure_threads, usable_cores
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.saliency.attribution import check_explained
from transforms.saliency.scores.operators import (
    OPERATOR_NAMES,
    check_operator,
    output_reading,
    resolve_operator,
)
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import Storage
from transforms.store.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class ModelOfRun:
    """A model that has been loaded and checked.

    Attributes:
      spec: How workers load it, its digest among it.
      model: What this process has loaded.
      target: Which of its outputs are explained.
      threads: Of one operation, in force in this process.
    """

    spec: ModelSpec
    model: LoadedModel
    target: TargetSpec
    threads: int


def load_for_run(
    config: Config, inputs: Inputs, recorded: Manifest | None, storage: Storage, processes: int
) -> ModelOfRun:
    """Loads the model and checks that it can be explained as configured.

    Args:
      config: The configuration.
      inputs: What the model is to take.
      recorded: The manifest of the atlas that is being completed.
      storage: Where the model is.
      processes: How many worker processes will share this machine's cores.

    Raises:
      ConfigurationError: It cannot be loaded, or does not fit inputs, operator or target.
    """
    wanted = config.explain.threads or (recorded.threads if recorded else None)
    if wanted is None and processes > 1:
        wanted = max(1, usable_cores() // processes)
    threads = configure_threads(wanted)
    spec = model_spec(config, inputs.spec.shape, storage)
    model = load_model(spec, storage)
    operator = resolve_operator(config.explain.operator)
    model = model.read_as(output_reading(operator))
    target = TargetSpec.parse(config.as_dict()["explain"]["target"])
    check_explained(model, operator, target)
    if config.explain.operator not in OPERATOR_NAMES:  # Of those, `check_explained` knows all.
        taking = model.with_channels(inputs.spec.channels)
        check_operator(taking, operator, inputs.spec.decoded_shape)
    return ModelOfRun(dataclasses.replace(spec, digest=model.digest), model, target, threads)


def model_spec(config: Config, shape: tuple[int, ...], storage: Storage) -> ModelSpec:
    """Which model a configuration names, its digest not yet known.

    Args:
      config: The configuration.
      shape: Of one input.
      storage: Where the model is.
    """
    given = config.model.inputs
    return ModelSpec(
        uri=storage.absolute(config.model.uri),
        output_layer=config.model.output_layer,
        allow_unsafe=config.model.allow_unsafe,
        input_shape=shape,
        output=config.model.output,
        imports=config.model.imports,
        signature=config.model.signature,
        explained_input=None if given is None else given.explained,
        constants=() if given is None else tuple(sorted(given.constants.items())),
        fed=tuple(name for name, _ in config.fed_inputs),
    )
