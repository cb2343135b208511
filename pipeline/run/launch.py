"""Runs a job: claims the atlas, begins it, runs the graph, and says how it went.

prepare (read everything, write nothing) -> begin (claim the atlas) -> graph -> manifest
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.run.error_messages import is_foreseen, last_sentence
from pipeline.run.job import Job, Prepared
from pipeline.run.progress import CountCommitted, CountingWithinBlocks, Progress
from transforms.errors import RunError
from transforms.process.metrics import METRICS_NAMESPACE
from transforms.storage import Storage, join
from transforms.store.blocks import CommittedCounter
from transforms.store.layout import FAILURES
from transforms.store.manifest import Manifest, read_manifest
from transforms.store.outcome.result import RunResult

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def _without_collecting_what_exists() -> Iterator[None]:
    """Leaves what exists out of garbage collection while the body runs.

    TensorFlow, Beam and a model are half a million objects. Building a Beam graph allocates enough
    for several full collections, each of which would visit all of them: a quarter of a second of
    the half that a run costs beside its blocks.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_without_collecting_what_exists()
def execute(
    prepared: Prepared, options: PipelineOptions, progress: Progress, storage: Storage
) -> dict[str, Any]:
    """Runs the graph of a job whose atlas has been begun.

    Raises:
      RunError: The run could not be finished, or too many records failed.
    """
    import apache_beam as beam
    from apache_beam.utils.shared import Shared

    from pipeline.run.graph import build
    from pipeline.runners.options import explain_hints, explains_here, only_submits
    from pipeline.runners.sampling import bundles_end_promptly

    job = prepared.job
    shared = Shared()
    shared.acquire(lambda: prepared.explainer, tag=job.explain.identity)
    pipeline = beam.Pipeline(options=options)
    alone = explains_here(options)
    build(pipeline, job, shared, explain_hints(options), alone=alone)
    count: CountCommitted = CommittedCounter(job.atlas, storage)
    if alone:
        explainer = prepared.explainer
        count = CountingWithinBlocks(
            count, lambda: explainer.explained_so_far, is_new=not job.resume
        )
    try:
        if only_submits(options):
            pipeline.run()
            begun = job.publication.manifest.as_json()
            return {**begun, "status": "submitted", "metrics": {}}
        with bundles_end_promptly(), progress.watching(count, prepared.records_estimated):
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:  # Runners wrap whatever stopped them in errors of their own.
        if not is_foreseen(error):
            _LOGGER.error("the run stopped at something unforeseen", exc_info=error)
        raise RunError(
            f"the run stopped: {last_sentence(error)}; committed blocks are kept, "
            "go on with --resume once the cause is mended"
        ) from error
    return {**finished_manifest(job, storage).as_json(), "metrics": _counters(result)}


def finished_manifest(job: Job, storage: Storage) -> Manifest:
    """Reads the manifest that a run has left.

    Raises:
      RunError: There is none of this run, or too many records failed.
    """
    manifest = read_manifest(job.atlas, storage)
    if manifest is None or manifest.result is None:
        raise RunError(f"the run ended without finishing {job.atlas}: go on with --resume")
    if manifest.status == "failed":
        raise RunError(_why_failed(job, manifest.result))
    if manifest.result.duplicate_ids:
        _LOGGER.warning(
            "%d examples have an id that another one has: name them by their place, SHARD:record",
            manifest.result.duplicate_ids,
        )
    return manifest


def _why_failed(job: Job, result: RunResult) -> str:
    """What was over its budget, and what to do."""
    limits = job.publication
    lines = []
    if result.failed_fraction > limits.max_failed_fraction:
        estimated = result.unreadable_records_estimated
        more = f", and about {estimated} that cannot be read" if estimated else ""
        left_out = result.left_out_records
        sampled = f" that the sample leaves in ({left_out} are left out)" if left_out else ""
        considered = result.records_read - left_out
        lines.append(
            f"{result.failed_records} of {considered} records{sampled} failed{more}, more than "
            f"failures.max_fraction allows ({limits.max_failed_fraction}): read "
            f"{join(job.atlas, FAILURES)}; what could be explained is kept, and --resume with "
            "--set failures.max_fraction=1.0 accepts it"
        )
    if len(result.broken_files) > limits.max_broken_files:
        first = result.broken_files[0]
        lines.append(
            f"broken input files: {len(result.broken_files)}, more than "
            f"failures.max_broken_files allows ({limits.max_broken_files}), such as {first.path}: "
            f"{first.why}; what could be explained is kept, and --resume with --set "
            f"failures.max_broken_files={len(result.broken_files)} accepts it"
        )
    if result.records_read < limits.min_records:
        lines.append(
            "the input files hold no record: is source.pattern right? --resume with --allow-empty "
            "accepts it"
        )
    if result.explained_examples < limits.min_examples:
        lines.append(
            f"{result.explained_examples} examples were explained, fewer than --min-examples asks "
            f"for ({limits.min_examples}); what could be explained is kept"
        )
    return "\n".join(lines)


def _counters(result: Any) -> dict[str, int]:
    found = result.metrics().query()["counters"]
    return {
        counter.key.metric.name: counter.result
        for counter in sorted(found, key=lambda counter: counter.key.metric.name)
        if counter.key.metric.namespace == METRICS_NAMESPACE
    }
