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

from pipeline.batch_size import fixed_batch_size, measure_batch_size
from pipeline.begin import Mode, begin_atlas, check_atlas
from pipeline.config import Config
from pipeline.engine_choice import decide_engine
from pipeline.first_examples import first_examples, try_examples
from pipeline.inputs import class_names_of, list_shards
from pipeline.versions import installed_versions
from transforms.elements import Shard
from transforms.errors import RunError
from transforms.formats.estimate import estimate_records
from transforms.formats.portions import plan_portions, unsplit_warning
from transforms.formats.source import InputSpec, SourceSpec
from transforms.mapstore import FORMAT_VERSION, CommittedCounter, lease_path
from transforms.models import LoadedModel, configure_threads, load_model, usable_cores
from transforms.results import Conclusion, read_manifest
from transforms.saliency.batch_size import starting_batch_size
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.operators import check_operator, resolve_operator
from transforms.saliency.program import ProgramSpec
from transforms.saliency.targets import TargetSpec
from transforms.storage import Storage

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
      conclusion: What the end of the run needs.
    """

    portions: tuple[Portion, ...]
    source: SourceSpec
    explain: ExplainSpec
    block_size: int
    atlas: str
    fingerprint: str
    attempt: str
    resume: bool
    conclusion: Conclusion

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
        conclusion = dataclasses.replace(self.job.conclusion, lease=None)
        return dataclasses.replace(self, job=dataclasses.replace(self.job, conclusion=conclusion))


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
    check_operator(model, operator, inputs.shape)
    target = TargetSpec.parse(config.as_dict()["explain"]["target"])
    target.check(model.outputs)
    fixed = fixed_batch_size(config, model, recorded)
    batch_size = fixed or starting_batch_size(inputs.shape)
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
            reducer=config.explain.reducer,
            codec=config.output.codec,
            batch_size=fixed_batch_size(config, model, recorded)
            or starting_batch_size(inputs.shape),
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
    explainer = BlockExplainer(model, explain, choice.gradient)
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
        conclusion=Conclusion(
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
        warnings=(*warnings, *_warnings(source, model)),
    )


def run(
    config: Config,
    mode: Mode,
    beam_options: Sequence[str],
    progress: Progress,
    engine: str | None = None,
) -> dict[str, Any]:
    """Makes or completes an atlas.

    Args:
      config: The configuration.
      mode: What may be found at the output path.
      beam_options: Override the configuration's `runner` section.
      progress: Shows how far it is.
      engine: A preset of options that both override; None is `local`.

    Returns:
      The manifest, and under `metrics` the counters of this run. Where the options say not to wait,
      what is known at the beginning, with the status `submitted`.

    Raises:
      ConfigurationError: Before any work.
      RunError: The run could not be finished, or too many records failed. What is committed stays.
    """
    # Beam is heavy, and whoever runs in memory does without.
    from apache_beam.io.filesystems import FileSystems

    from pipeline.engines import check_reach, runner_name
    from pipeline.runners import only_submits, pipeline_options, processes_here, with_package
    from transforms.filesystems import BeamStorage

    options = pipeline_options(config.runner, beam_options, engine)
    FileSystems.set_options(options)  # HDFS and S3 are told by options where they are
    storage = BeamStorage()
    check_reach(options, config, storage)
    check_unclaimed(storage.absolute(config.output.path), storage)
    runner = {"runner": runner_name(options)}
    prepared = prepare(config, storage, mode, runner, processes_here(options))
    for warning in prepared.warnings:
        _LOGGER.warning("%s", warning)
    if only_submits(options):
        prepared = prepared.without_lease()
    job = prepared.job
    with claimed(job.atlas, job.attempt, storage), with_package(options):
        begin_atlas(job.atlas, mode, job.conclusion.manifest, storage)
        return execute(prepared, options, progress, storage)


@settled_heap()
def execute(
    prepared: Prepared, options: PipelineOptions, progress: Progress, storage: Storage
) -> dict[str, Any]:
    """Runs the graph of a job whose atlas has been begun.

    Raises:
      RunError: The run could not be finished, or too many records failed.
    """
    import apache_beam as beam
    from apache_beam.utils.shared import Shared

    from pipeline.graph import build
    from pipeline.runners import explain_hints, only_submits

    job = prepared.job
    shared = Shared()
    shared.acquire(lambda: prepared.explainer, tag=job.explain.identity)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, shared, explain_hints(options))
    count = CommittedCounter(job.atlas, storage)
    try:
        if only_submits(options):
            pipeline.run()
            return {**job.conclusion.manifest, "status": "submitted", "metrics": {}}
        with progress.watching(count, prepared.records_estimated):
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:  # Runners wrap whatever stopped them in errors of their own.
        if not is_foreseen(error):
            _LOGGER.error("the run stopped at something unforeseen", exc_info=error)
        raise RunError(
            f"the run stopped: {last_sentence(error)}; committed blocks are kept, "
            "go on with --resume once the cause is mended"
        ) from error
    return {**conclude(job, storage), "metrics": _counters(result)}


def conclude(job: Job, storage: Storage) -> dict[str, Any]:
    """Reads the manifest that a run has left.

    Raises:
      RunError: There is none of this run, or too many records failed.
    """
    manifest = read_manifest(job.atlas, storage)
    if manifest is None or manifest["status"] == "incomplete":
        raise RunError(f"the run ended without finishing {job.atlas}: go on with --resume")
    if manifest["status"] == "failed":
        raise RunError(
            f"{manifest['failed_records']} of {manifest['records_read']} records failed, more than "
            f"failures.max_fraction allows ({job.conclusion.max_failed_fraction}): read "
            f"{join(job.atlas, 'failures.parquet')}; what could be explained is kept, and --resume "
            "with --set failures.max_fraction=1.0 accepts it"
        )
    return manifest


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
    if names and names != model.outputs:
        return [f"source.classes has {names} names, the model {model.outputs} outputs"]
    return []
