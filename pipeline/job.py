"""A job: everything checked and decided before the first block, and then run.

prepare (read everything, write nothing) -> begin (claim the atlas) -> graph -> manifest
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.batch_size import fixed_batch_size, measure_batch_size
from pipeline.begin import Mode, begin_atlas, check_atlas
from pipeline.config import Config
from pipeline.heap import settled_heap
from pipeline.progress import Progress
from pipeline.versions import installed_versions
from transforms.elements import Block, BlockKey, Shard
from transforms.errors import ConfigurationError, RunError
from transforms.formats.estimate import estimate_records
from transforms.formats.reader import probe
from transforms.formats.source import InputSpec, SourceSpec
from transforms.mapstore import FORMAT_VERSION, CommittedCounter
from transforms.models import LoadedModel, configure_threads, load_model, usable_cores
from transforms.results import Conclusion, read_manifest
from transforms.saliency.batch_size import starting_batch_size
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.saliency.operators import check_operator, resolve_operator
from transforms.saliency.program import ProgramSpec
from transforms.saliency.targets import TargetSpec
from transforms.storage import Storage, join

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_PROBED_SHARDS = 8  # Shards looked into for a first example, before a dataset counts as empty.

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run does; all of it is known before the graph is built.

    Attributes:
      shards: Input files, sorted.
      source: What is in them.
      explain: What an explanation is.
      block_size: Records a block.
      atlas: The output folder.
      fingerprint: SHA-256 of the settings and model that the maps' bytes depend on.
      attempt: Names this run among all others.
      resume: Whether committed blocks count.
      conclusion: What the end of the run needs.
    """

    shards: tuple[Shard, ...]
    source: SourceSpec
    explain: ExplainSpec
    block_size: int
    atlas: str
    fingerprint: str
    attempt: str
    resume: bool
    conclusion: Conclusion

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
    source = config.source_spec(_class_names(config, storage))
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
    explainer = BlockExplainer(model, explain)
    measured = None
    if fixed_batch_size(config, model, recorded) is None:
        measured = measure_batch_size(explainer, shards, source, storage, records)
        explainer = explainer.resized(measured.size)
        explain = explainer.spec
    settings = _settings(config, source, explain)
    manifest = {
        "format": FORMAT_VERSION,
        "status": "incomplete",
        "fingerprint": _digest(settings),
        "settings": settings,
        "config": config.as_dict(),
        "model": model.describe(),
        "shards": [dataclasses.asdict(shard) for shard in shards],
        "map_format": dataclasses.asdict(explain.map_format),
        "class_names": list(source.class_names),
        "engine": "tensorflow",
        "batch_size": explain.program.batch_size,
        "batch_size_measured": None if measured is None else measured.as_dict(),
        "threads": threads,
        "started": datetime.datetime.fromtimestamp(started, datetime.timezone.utc).isoformat(),
        "versions": installed_versions(),
        **arguments,
    }
    job = Job(
        shards=shards,
        source=source,
        explain=explain,
        block_size=config.output.block_size,
        atlas=atlas,
        fingerprint=manifest["fingerprint"],
        attempt=uuid.uuid4().hex,
        resume=mode in ("resume", "extend"),
        conclusion=Conclusion(atlas, manifest, started, config.failures.max_fraction),
    )
    examples, warnings = _try_first_examples(job, explainer, storage)
    return Prepared(
        job=job,
        model=model,
        explainer=explainer,
        examples=examples,
        records_estimated=records,
        warnings=(*warnings, *_warnings(source, model)),
    )


def run(
    config: Config, mode: Mode, beam_options: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Makes or completes an atlas.

    Args:
      config: The configuration.
      mode: What may be found at the output path.
      beam_options: Override the configuration's `runner` section.
      progress: Shows how far it is.

    Returns:
      The manifest, and under `metrics` the counters of this run.

    Raises:
      ConfigurationError: Before any work.
      RunError: The run could not be finished, or too many records failed. What is committed stays.
    """
    # Beam is heavy, and whoever runs in memory does without.
    from pipeline.runners import pipeline_options, processes_here, runner_name
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    options = pipeline_options(config.runner, beam_options)
    runner = {"runner": runner_name(options)}
    prepared = prepare(config, storage, mode, runner, processes_here(options))
    for warning in prepared.warnings:
        _LOGGER.warning("%s", warning)
    begin_atlas(prepared.job.atlas, mode, prepared.job.conclusion.manifest, storage)
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

    job = prepared.job
    shared = Shared()
    shared.acquire(lambda: prepared.explainer, tag=job.explain.identity)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, shared)
    count = CommittedCounter(job.atlas, storage)
    try:
        with progress.watching(count, prepared.records_estimated):
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:  # Runners wrap whatever stopped them in errors of their own.
        raise RunError(
            f"the run stopped: {_last_line(error)}; committed blocks are kept, "
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


def list_shards(config: Config, storage: Storage) -> tuple[Shard, ...]:
    """The input files, sorted and each once.

    Raises:
      ConfigurationError: A pattern that no file matches.
    """
    found: dict[str, int] = {}
    for pattern in config.source.patterns:
        entries = storage.match(storage.absolute(pattern))
        if not entries:
            raise ConfigurationError(
                f"source.pattern: no file matches {pattern!r} "
                f"({storage.absolute(pattern)}); give a glob that matches the input files"
            )
        found.update((entry.path, entry.size) for entry in entries)
    return tuple(sorted(Shard(path, size) for path, size in found.items()))


def _class_names(config: Config, storage: Storage) -> tuple[str, ...]:
    path = config.source.classes
    if path is None:
        return ()
    try:
        with storage.open(storage.absolute(path)) as stream:
            names = stream.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"source.classes: {path} cannot be read as a text file ({error}); "
            "give a file with a class name a line"
        ) from error
    stripped = tuple(name.strip() for name in names)
    repeated = sorted({name for name in stripped if stripped.count(name) > 1})
    if not stripped or repeated:
        what = f"holds {repeated[0]!r} more than once" if repeated else "is empty"
        raise ConfigurationError(
            f"source.classes: {path} {what}; give a file with a class name a line, each once"
        )
    return stripped


def _settings(config: Config, source: SourceSpec, explain: ExplainSpec) -> dict[str, Any]:
    """What the bytes of an atlas depend on, beside its inputs."""
    settings = config.fingerprint_settings()
    settings["source"]["classes"] = _digest(source.class_names) if source.class_names else None
    settings["model"]["digest"] = explain.model_digest
    settings["explain"]["batch_size"] = explain.program.batch_size
    settings["explain"]["threads"] = explain.threads
    settings["explain"]["engine"] = "tensorflow"
    return settings


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _try_first_examples(
    job: Job, explainer: BlockExplainer, storage: Storage
) -> tuple[int, list[str]]:
    """Reads and explains the first examples, so that what concerns all of them is seen now."""
    refusal: ConfigurationError | None = None
    for shard in job.shards[:_PROBED_SHARDS]:
        count = min(job.explain.program.batch_size, job.block_size)
        try:
            examples = probe(shard, job.source, job.inputs, storage, count)
        except ConfigurationError as error:
            # One damaged file among good ones is a matter of failure rows, not of the settings.
            refusal = refusal or error
            continue
        if not len(examples):
            continue
        key = BlockKey(shard, 0, 0, len(examples), last=False)
        explained = explainer.explain(Block(key, examples))
        warnings = []
        if explained.examples == 0:
            first = explained.failures[0]
            warnings.append(
                f"none of the first {len(examples)} examples of {shard.path} can be explained: "
                f"{first.error}: {first.message}"
            )
        return explained.examples, warnings
    if refusal is not None:
        raise refusal
    return 0, [f"no example in the first {min(len(job.shards), _PROBED_SHARDS)} files"]


def _warnings(source: SourceSpec, model: LoadedModel) -> list[str]:
    names = len(source.class_names)
    if names and names != model.outputs:
        return [f"source.classes has {names} names, the model {model.outputs} outputs"]
    return []


def _counters(result: Any) -> dict[str, int]:
    found = result.metrics().query()["counters"]
    return {
        counter.key.metric.name: counter.result
        for counter in sorted(found, key=lambda counter: counter.key.metric.name)
        if counter.key.metric.namespace == "saliency_atlas"
    }


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
