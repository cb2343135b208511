"""A job: everything checked and decided before the first block.

    inspect_inputs -> load_for_run -> choose_explainer -> assemble

`prepare` reads everything and writes nothing; `commands.run` does the rest.
"""

from __future__ import annotations

import dataclasses
import time
import uuid

from pipeline.config.keys import Config
from pipeline.run.begin import Mode, check_atlas
from pipeline.run.choose import Choice, choose_explainer
from pipeline.run.fingerprint import run_settings, settings_digest
from pipeline.run.inspect import FirstExamples, Inputs, inspect_inputs, no_examples_warning
from pipeline.run.load import ModelOfRun, load_for_run
from transforms.elements import Block, BlockKey, Portion, Shard
from transforms.formats.portions import plan_portions, unsplit_warning
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.loading import LoadedModel
from transforms.process.version import installed_versions
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.storage import Storage, to_text
from transforms.store.layout import FORMAT_VERSION
from transforms.store.lease_file import lease_path
from transforms.store.manifest import Manifest, RecordedMapFormat, RecordedShard, timestamp
from transforms.store.publishing import Publication


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
    runner: str | None = None,
    processes: int = 1,
) -> Prepared:
    """Checks everything that can be known before the first block. Writes nothing.

    Args:
      config: The configuration.
      storage: Where inputs, model and atlas are.
      mode: What may be found at the output path.
      runner: The runner's name, for the manifest; None where nothing will be run.
      processes: How many worker processes will share this machine's cores.

    Raises:
      ConfigurationError: Naming what is wrong, its value and the remedy.
    """
    started = time.time()
    recorded = check_atlas(storage.absolute(config.output.path), mode, storage)
    inputs = inspect_inputs(config, storage)
    loaded = load_for_run(config, inputs, recorded, storage, processes)
    choice = choose_explainer(config, inputs, loaded, recorded, storage)
    manifest = _manifest(config, inputs, loaded, choice, recorded, started=started, runner=runner)
    job = _assemble(config, inputs, choice, manifest, started=started, mode=mode, storage=storage)
    explained, warnings = _try(choice.first, choice.explainer, inputs)
    return Prepared(
        job=job,
        model=loaded.model,
        explainer=choice.explainer,
        examples=explained,
        records_estimated=inputs.records_estimated,
        warnings=(
            *warnings,
            *_class_warnings(inputs.source, loaded.model),
            *unsplit_warning(job.portions, inputs.source),
        ),
    )


def _assemble(
    config: Config,
    inputs: Inputs,
    choice: Choice,
    manifest: Manifest,
    *,
    started: float,
    mode: Mode,
    storage: Storage,
) -> Job:
    atlas = storage.absolute(config.output.path)
    attempt = uuid.uuid4().hex
    return Job(
        portions=plan_portions(inputs.shards, inputs.source, config.output.block_size, storage),
        source=inputs.source,
        explain=choice.explainer.spec,
        block_size=config.output.block_size,
        atlas=atlas,
        fingerprint=manifest.fingerprint,
        attempt=attempt,
        resume=mode in ("resume", "extend"),
        publication=Publication(
            root=atlas,
            manifest=manifest,
            started=started,
            max_failed_fraction=config.failures.max_fraction,
            run=attempt,
            lease=lease_path(atlas, attempt),
        ),
    )


def _manifest(
    config: Config,
    inputs: Inputs,
    loaded: ModelOfRun,
    choice: Choice,
    recorded: Manifest | None,
    *,
    started: float,
    runner: str | None,
) -> Manifest:
    """What is known when a run begins."""
    explain = choice.explainer.spec
    settings = run_settings(config, inputs.source.class_names, explain)
    agreement, measured = choice.engine.agreement, choice.batch_size_measured
    compared_before = recorded.engine_agreement if recorded else None
    return Manifest(
        format=FORMAT_VERSION,
        status="incomplete",
        fingerprint=settings_digest(settings),
        settings=settings,
        config=config.as_dict(),
        model=loaded.model.describe(),
        shards=[
            RecordedShard(path=to_text(shard.path), size=shard.size) for shard in inputs.shards
        ],
        map_format=RecordedMapFormat.of(explain.map_format),
        class_names=list(inputs.source.class_names),
        engine=choice.engine.spec.name,
        engine_notes=list(choice.engine.notes),
        engine_agreement=agreement.as_dict() if agreement else compared_before,
        batch_size=explain.program.batch_size,
        batch_size_measured=None if measured is None else measured.as_dict(),
        threads=loaded.threads,
        runner=runner,
        started=timestamp(started),
        versions=installed_versions(),
    )


def _try(
    first: FirstExamples | None, explainer: BlockExplainer, inputs: Inputs
) -> tuple[int, list[str]]:
    """Explains the first examples, so that what concerns all of them is seen now.

    Returns:
      How many were explained, and what to warn of.
    """
    if first is None:
        return 0, [no_examples_warning(inputs.shards)]
    count = len(first.examples)
    explained = explainer.explain(
        Block(BlockKey(first.shard, 0, 0, count, last=False), first.examples)
    )
    if explained.examples:
        return explained.examples, []
    failure = explained.failures[0]
    return 0, [
        f"none of the first {count} examples of {first.shard.path} can be explained: "
        f"{failure.error}: {failure.message}"
    ]


def _class_warnings(source: SourceSpec, model: LoadedModel) -> list[str]:
    names = len(source.class_names)
    if names and model.classes not in (None, names):
        return [f"source.classes has {names} names, the model {model.classes} outputs"]
    return []
