"""Runs a job: claims the atlas, begins it, runs the graph, and says how it went.

prepare (read everything, write nothing) -> begin (claim the atlas) -> graph -> manifest
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.begin import Mode, begin_atlas
from pipeline.config import Config
from pipeline.heap import settled_heap
from pipeline.job import Job, Prepared, prepare
from pipeline.lease import check_unclaimed, claimed
from pipeline.progress import Progress
from pipeline.stops import is_foreseen, last_sentence
from transforms.errors import RunError
from transforms.mapstore import CommittedCounter
from transforms.results import read_manifest
from transforms.storage import Storage, join

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOGGER = logging.getLogger(__name__)


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


def _counters(result: Any) -> dict[str, int]:
    found = result.metrics().query()["counters"]
    return {
        counter.key.metric.name: counter.result
        for counter in sorted(found, key=lambda counter: counter.key.metric.name)
        if counter.key.metric.namespace == "saliency_atlas"
    }
