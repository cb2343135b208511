"""A job: everything checked and decided before the first block.

`prepare` reads everything and writes nothing; `launch.run` does the rest.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config.keys import Config
from pipeline.run.begin import Mode, check_atlas
from pipeline.run.choose_batch_size import fixed_batch_size, measure_batch_size
from pipeline.run.choose_engine import decide_engine
from pipeline.run.first_examples import first_examples, try_examples
from pipeline.run.inspect import class_names_of, list_shards
from pipeline.run.versions import installed_versions
from transforms.elements import Portion, Shard
from transforms.formats.estimate import estimate_records
from transforms.formats.portions import plan_portions, unsplit_warning
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.devices import configure_threads, has_gpu, usable_cores
from transforms.models.loading import LoadedModel, load_model
from transforms.saliency.attribution import check_explained
from transforms.saliency.batching.size import starting_batch_size
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.program import ProgramSpec
from transforms.saliency.scores.operators import check_operator, resolve_operator
from transforms.saliency.scores.targets import TargetSpec
from transforms.storage import Storage
from transforms.store.layout import FORMAT_VERSION
from transforms.store.lease_file import lease_path
from transforms.store.manifest import Publication, read_manifest

if TYPE_CHECKING:
    pass

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run does; all of it is known before the graph is built.

    Attributes:
      portions: What workers read: the input files, sorted, big ones in ranges of blocks.
      source: What is in them.
      explain: What an explanation is.
      block_size: Records a block.
      atlas: The output folder.
      fingerprint: SHA-256 of the settings and model that the maps' bytes depend on.
      attempt: Names this run among all others.
      resume: Whether committed blocks count.
      publication: What the end of the run needs.
    """

    portions: tuple[Portion, ...]
    source: SourceSpec
    explain: ExplainSpec
    block_size: int
    atlas: str
    fingerprint: str
    attempt: str
    resume: bool
    publication: Publication

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The input files, each once."""
        return tuple(dict.fromkeys(portion.shard for portion in self.portions))

    @property
    def inputs(self) -> InputSpec:
        """What the model takes."""
        return self.explain.program.inputs


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A checked job, with what checking it has loaded.

    Attributes:
      job: What to run.
      model: The model, as the launcher loaded it.
      explainer: Its compiled explanation; this process's runs use it.
      examples: How many of the first examples could be read and explained.
      records_estimated: How many records the input files have.
      warnings: What a user should know and no check refuses.
    """

    job: Job
    model: LoadedModel
    explainer: BlockExplainer
    examples: int
    records_estimated: int
    warnings: tuple[str, ...]

    def without_lease(self) -> Prepared:
        """The same for a launcher that leaves once it has submitted, and can renew no lease."""
        publication = dataclasses.replace(self.job.publication, lease=None)
        return dataclasses.replace(self, job=dataclasses.replace(self.job, publication=publication))


def prepare(
    config: Config,
    storage: Storage,
    mode: Mode,
    arguments: Mapping[str, Any],
    processes: int = 1,
) -> Prepared:
    """Checks everything that can be known before the first block. Writes nothing.

    Args:
      config: The configuration.
      storage: Where inputs, model and atlas are.
      mode: What may be found at the output path.
      arguments: What else the manifest should record of this run, such as the runner.
      processes: How many worker processes will share this machine's cores.

    Raises:
      ConfigurationError: Naming what is wrong, its value and the remedy.
    """
    started = time.time()
    atlas = storage.absolute(config.output.path)
    recorded = check_atlas(atlas, mode, read_manifest(atlas, storage), storage)
    shards = list_shards(config, storage)
    source = config.source_spec(class_names_of(config, storage))
    inputs = config.input_spec()

    wanted = config.explain.threads or recorded.get("threads")
    if wanted is None and processes > 1:
        wanted = max(1, usable_cores() // processes)
    threads = configure_threads(wanted)
    uri = storage.absolute(config.model.uri)
    model = load_model(
        uri, storage, config.model.output_layer, config.model.allow_unsafe, inputs.shape
    )
    operator = resolve_operator(config.explain.operator)
    target = TargetSpec.parse(config.as_dict()["explain"]["target"])
    check_explained(model, operator, target)
    check_operator(model, operator, inputs.shape)
    fixed = fixed_batch_size(config, model, recorded)
    records = estimate_records(shards, source, storage)

    explain = ExplainSpec(
        model_uri=uri,
        model_digest=model.digest,
        output_layer=config.model.output_layer,
        allow_unsafe=config.model.allow_unsafe,
        program=ProgramSpec(
            inputs=inputs,
            target=target,
            operator=config.explain.operator,
            method=config.explain.method,
            reducer=config.explain.reducer,
            codec=config.output.codec,
            batch_size=fixed or starting_batch_size(inputs.shape, on_gpu=has_gpu()),
        ),
        threads=threads,
        sketch=config.statistics.sketch,
        with_boxes=config.source.features.boxes is not None,
    )
    count = min(explain.program.batch_size, config.output.block_size)
    first = first_examples(shards, source, inputs, storage, count)
    choice = decide_engine(
        config,
        recorded,
        model,
        explain.program,
        threads=threads,
        examples=None if first is None else first[1],
    )
    for note in choice.notes:
        _LOGGER.info("engine: %s", note)
    program = dataclasses.replace(explain.program, engine=choice.spec)
    explain = dataclasses.replace(explain, program=program)
    explainer = BlockExplainer(model, explain, choice.compiled)
    measured = None
    if fixed is None:
        examples = None if first is None else first[1]
        measured = measure_batch_size(explainer, examples, records)
        explainer = explainer.resized(measured.size)
    explain = explainer.spec
    settings = _settings(config, source, explain)
    manifest = {
        "format": FORMAT_VERSION,
        "status": "incomplete",
        "fingerprint": settings_digest(settings),
        "settings": settings,
        "config": config.as_dict(),
        "model": model.describe(),
        "shards": [dataclasses.asdict(shard) for shard in shards],
        "map_format": dataclasses.asdict(explain.map_format),
        "class_names": list(source.class_names),
        "engine": choice.spec.name,
        "engine_notes": list(choice.notes),
        "engine_agreement": (
            choice.agreement.as_dict() if choice.agreement else recorded.get("engine_agreement")
        ),
        "batch_size": explain.program.batch_size,
        "batch_size_measured": None if measured is None else measured.as_dict(),
        "threads": threads,
        "started": datetime.datetime.fromtimestamp(started, datetime.timezone.utc).isoformat(),
        "versions": installed_versions(),
        **arguments,
    }
    attempt = uuid.uuid4().hex
    portions = plan_portions(shards, source, config.output.block_size, storage)
    job = Job(
        portions=portions,
        source=source,
        explain=explain,
        block_size=config.output.block_size,
        atlas=atlas,
        fingerprint=manifest["fingerprint"],
        attempt=attempt,
        resume=mode in ("resume", "extend"),
        publication=Publication(
            atlas, manifest, started, config.failures.max_fraction, lease_path(atlas, attempt)
        ),
    )
    explained, warnings = try_examples(first, explainer, len(shards))
    return Prepared(
        job=job,
        model=model,
        explainer=explainer,
        examples=explained,
        records_estimated=records,
        warnings=(*warnings, *_warnings(source, model), *unsplit_warning(portions, source)),
    )


def _settings(config: Config, source: SourceSpec, explain: ExplainSpec) -> dict[str, Any]:
    """What the bytes of an atlas depend on, beside its inputs."""
    settings = config.fingerprint_settings()
    settings["source"]["classes"] = (
        settings_digest(source.class_names) if source.class_names else None
    )
    settings["model"]["digest"] = explain.model_digest
    settings["explain"]["batch_size"] = explain.program.batch_size
    settings["explain"]["threads"] = explain.threads
    settings["explain"]["engine"] = explain.program.engine.name
    return settings


def settings_digest(value: Any) -> str:
    """SHA-256 of settings, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _warnings(source: SourceSpec, model: LoadedModel) -> list[str]:
    names = len(source.class_names)
    if names and model.classes not in (None, names):
        return [f"source.classes has {names} names, the model {model.classes} outputs"]
    return []
