"""A job: everything checked and decided before the first block.

    inspect_inputs -> load_for_run -> choose_explainer -> assemble

`prepare` reads everything and writes nothing; `commands.run` does the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import uuid
from typing import Any

from pipeline.config.keys import Config
from pipeline.run.begin import Mode, check_atlas
from pipeline.run.choose import Choice, choose_explainer
from pipeline.run.fingerprint import run_settings, settings_digest
from pipeline.run.first_look.trial import Trial, try_examples
from pipeline.run.inspect import FirstExamples, Inputs, inspect_inputs, no_examples_warning
from pipeline.run.load import ModelOfRun, load_for_run
from pipeline.run.progress import Announce, unheard
from transforms.elements import Portion, Shard
from transforms.formats.portions import plan_portions, unsplit_warning
from transforms.formats.source import InputSpec, SourceSpec
from transforms.models.loading import LoadedModel, load_model
from transforms.process.version import installed_versions
from transforms.saliency.block import BlockExplainer, ExplainSpec
from transforms.storage import Storage
from transforms.store.budget import FailureBudget
from transforms.store.layout import FORMAT_VERSION
from transforms.store.lease_file import lease_path
from transforms.store.manifest import Manifest, RecordedMapFormat, RecordedShard
from transforms.store.outcome.result import timestamp
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
      budget: The failures that it may have; None where how many records there are is not known.
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
    budget: FailureBudget | None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The input files, each once."""
        return tuple(dict.fromkeys(portion.shard for portion in self.portions))

    @property
    def drawn(self) -> str | None:
        """The sample that is explained, in words; None where no sample is asked for."""
        sample = self.publication.manifest.sample
        return None if sample is None else str(sample)

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
      trial: The first examples, explained; None where the first files hold none.
      records_estimated: How many records the input files have.
      examples_estimated: How many of them are to be explained.
      warnings: What a user should know and no check refuses.
    """

    job: Job
    model: LoadedModel
    explainer: BlockExplainer
    trial: Trial | None
    records_estimated: int
    examples_estimated: int
    warnings: tuple[str, ...]

    @property
    def examples(self) -> int:
        """How many of the first examples could be explained."""
        return 0 if self.trial is None else self.trial.explained.examples

    def demanding(self, min_records: int, min_examples: int) -> Prepared:
        """The same for a run that fails with fewer records, or fewer examples explained."""
        publication = dataclasses.replace(
            self.job.publication, min_records=min_records, min_examples=min_examples
        )
        return dataclasses.replace(self, job=dataclasses.replace(self.job, publication=publication))

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
    *,
    certified_on: int | None = None,
    announce: Announce = unheard,
) -> Prepared:
    """Checks everything that can be known before the first block. Writes nothing.

    Args:
      config: The configuration.
      storage: Where inputs, model and atlas are.
      mode: What may be found at the output path.
      runner: The runner's name, for the manifest; None where nothing will be run.
      processes: How many worker processes will share this machine's cores.
      certified_on: How many examples to try on what the maps say about the model; None is what the
        configuration says.
      announce: Is told which step begins.

    Raises:
      ConfigurationError: Naming what is wrong, its value and the remedy.
    """
    started = time.time()
    announce("reading the input files")
    recorded = check_atlas(storage.absolute(config.output.path), mode, storage)
    inputs = inspect_inputs(config, storage, recorded, announce=announce)
    announce("loading the model")
    loaded = load_for_run(config, inputs, recorded, storage, processes)
    choice = choose_explainer(config, inputs, loaded, recorded, storage, announce=announce)
    manifest = _manifest(config, inputs, loaded, choice, recorded, started=started, runner=runner)
    samples = certified_on or config.certified_on
    if samples is not None:
        announce(f"trying on {samples:,} examples what maps say about the model")
        certificate = _certificate(samples, inputs, loaded, choice, recorded, storage=storage)
        manifest = manifest.model_copy(update={"certificate": certificate})
    job = _assemble(config, inputs, choice, manifest, started=started, mode=mode, storage=storage)
    announce("explaining the first examples")
    trial = _trial(choice, loaded.model)
    return Prepared(
        job=job,
        model=loaded.model,
        explainer=choice.explainer,
        trial=trial,
        records_estimated=inputs.records_estimated,
        examples_estimated=inputs.examples_estimated,
        warnings=(
            *((no_examples_warning(inputs.shards),) if trial is None else trial.warnings),
            *_class_warnings(inputs.source, loaded.model),
            *_padding_warnings(config),
            *_slice_warnings(choice.first),
            *unsplit_warning(job.portions, inputs.source),
        ),
    )


def _trial(choice: Choice, model: LoadedModel) -> Trial | None:
    """The first examples, explained; None where there are none."""
    if choice.first is None:
        return None
    return try_examples(
        choice.first.shard,
        choice.first.examples,
        choice.decoded,
        explainer=choice.explainer,
        model=model,
        outputs=choice.outputs,
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
            max_broken_files=config.failures.max_broken_files,
            run=attempt,
            lease=lease_path(atlas, attempt),
        ),
        budget=None
        if inputs.most_records is None
        else FailureBudget(config.failures.max_fraction, inputs.most_records),
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
    settings = run_settings(config, inputs.source.class_names, explain, inputs.drawn)
    agreement, measured = choice.engine.agreement, choice.batch_size_measured
    compared_before = recorded.engine_agreement if recorded else None
    return Manifest(
        format=FORMAT_VERSION,
        status="incomplete",
        fingerprint=settings_digest(settings),
        settings=settings,
        config=config.as_dict(),
        model=loaded.model.describe(),
        shards=[RecordedShard.of(shard) for shard in inputs.shards],
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


def _certificate(
    samples: int,
    inputs: Inputs,
    loaded: ModelOfRun,
    choice: Choice,
    recorded: Manifest | None,
    *,
    storage: Storage,
) -> dict[str, Any] | None:
    """What maps say about the model; None where there are no examples to try it on.

    An atlas that is completed keeps what it has.
    """
    known = recorded.certificate if recorded else None
    if known is not None and known["samples"] == samples:
        return known
    # Few runs want one, and it takes a second to import.
    from pipeline.certificate.certify import certify
    from pipeline.certificate.sampling import sample_examples

    examples = sample_examples(inputs.shards, inputs.source, inputs.spec, storage, samples)
    if examples is None:
        return None
    reload = functools.partial(load_model, loaded.spec, storage)
    return certify(loaded.model, reload, choice.explainer, examples, samples).as_dict()


def _slice_warnings(first: FirstExamples | None) -> list[str]:
    """Slices that look misspelt: in a tf.train.Example, what is not there is null."""
    if first is None:
        return []
    return [
        f"source.features.slices: none of the first {len(first.examples)} examples of "
        f"{first.shard.path} has a value of {name!r}; is that what the feature is called?"
        for name, values in first.examples.slices.items()
        if set(values) == {None}
    ]


def _class_warnings(source: SourceSpec, model: LoadedModel) -> list[str]:
    names = len(source.class_names)
    if names and model.classes not in (None, names):
        return [f"source.classes has {names} names, the model {model.classes} outputs"]
    return []


def _padding_warnings(config: Config) -> list[str]:
    batch, block = config.explain.batch_size, config.output.block_size
    if batch == "auto" or batch <= block:
        return []
    return [
        f"explain.batch_size is {batch}, but a block has {block} records at most "
        "(output.block_size): what is missing in a mini-batch is computed in vain"
    ]
