"""The same path without Beam, one shard after another: the tests' oracle, the debugger's friend.

It calls what the stages call, in the order in which `graph.build` connects them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from pipeline.config.keys import Config
from pipeline.run.begin import Mode, begin_atlas
from pipeline.run.job import Job, Prepared, prepare
from pipeline.run.launch import finished_manifest
from pipeline.run.lease import check_unclaimed, claimed
from transforms.elements import CommittedBlock, Portion
from transforms.formats.missing_blocks import DoneBlocks, read_missing_blocks
from transforms.storage import LocalStorage, Storage
from transforms.store.blocks import commit_block, resumed_blocks
from transforms.store.outcome.summary import AtlasSummary
from transforms.store.publishing import publish
from transforms.store.tables import final_tables


def run_in_memory(
    config: Config, mode: Mode = "new", storage: Storage | None = None
) -> dict[str, Any]:
    """Makes or completes an atlas in this process and thread.

    Args:
      config: The configuration; its `runner` section has no meaning here.
      mode: What may be found at the output path.
      storage: Where inputs, model and atlas are; the local file system unless given.

    Returns:
      The manifest.

    Raises:
      ConfigurationError: Before any work.
      RunError: Too many records failed.
    """
    storage = storage or LocalStorage()
    watch = check_unclaimed(storage.absolute(config.output.path), storage, patient=mode != "new")
    prepared = prepare(config, storage, mode, "in_memory")
    job = prepared.job
    with claimed(job.atlas, job.attempt, storage, watch):
        begin_atlas(job.publication, mode, storage)
        summary = AtlasSummary(job.explain.map_format, job.publication.manifest.has_given_ids)
        for block in _committed_blocks(prepared, storage):
            summary.add(block)
        statistics = summary.statistics(job.source.class_names)
        publish(
            job.atlas,
            final_tables(statistics, summary.record.failures(), job.publication.manifest.sample),
            lambda digests: job.publication.finish(summary.record, digests, statistics.left_out),
            storage,
            run=job.attempt,
            lease=job.publication.lease,
        )
        return finished_manifest(job, storage).as_json()


def _committed_blocks(prepared: Prepared, storage: Storage) -> Iterator[CommittedBlock]:
    job: Job = prepared.job
    for portion in map(Portion, job.shards):
        done = DoneBlocks()
        if job.resume:
            for committed in resumed_blocks(
                job.atlas, portion, job.fingerprint, storage, job.attempt
            ):
                done.add(committed)
                yield committed
        for block in read_missing_blocks(
            portion, job.source, job.inputs, job.block_size, storage, done
        ):
            explained = prepared.explainer.explain(block)
            written = commit_block(
                job.atlas, explained, job.fingerprint, storage, job.attempt, job.publication.lease
            )
            yield dataclasses.replace(written, time_span=(explained.started, time.time()))
