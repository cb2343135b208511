"""The whole Beam graph: read it top to bottom."""

from __future__ import annotations

from collections.abc import Mapping

import apache_beam as beam
from apache_beam.utils.shared import Shared

from pipeline.run.job import Job
from transforms.stages.aggregate import AggregateStatistics
from transforms.stages.explain import ExplainBlocks
from transforms.stages.publish import PublishAtlas
from transforms.stages.read import Committed, ReadBlocks
from transforms.stages.write import WriteBlocks


def build(
    root: beam.Pipeline,
    job: Job,
    shared: Shared | None = None,
    hints: Mapping[str, str] | None = None,
) -> None:
    """Attaches everything between the shards and the finished atlas.

    Only shards cross the Reshuffle; images and maps stay inside the fused stages up to the
    commit, and only sums, failures and counts leave them.

    Args:
      root: The pipeline.
      job: What to run.
      shared: The handle of a model that the launcher has loaded already.
      hints: What machines that explain need. Reading and writing get the same hints, as runners
        fuse only steps whose hints are equal: else every image and map would be stored between.
    """
    explaining = hints or {}
    committed = Committed(job.atlas, job.fingerprint, job.attempt) if job.resume else None
    blocks = (
        root
        | "Shards" >> beam.Create(job.portions, reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        | "ReadBlocks"
        >> ReadBlocks(
            job.source, job.inputs, job.block_size, committed, job.explain.threads
        ).with_resource_hints(**explaining)
        | "ExplainBlocks" >> ExplainBlocks(job.explain, shared).with_resource_hints(**explaining)
        | "WriteBlocks"
        >> WriteBlocks(
            job.atlas,
            job.fingerprint,
            job.attempt,
            job.publication.lease,
            job.budget,
            folder_is_made=True,
        ).with_resource_hints(**explaining)
    )
    stored = job.explain.map_format
    statistics = blocks | "AggregateStatistics" >> AggregateStatistics(stored)
    _ = blocks | "PublishAtlas" >> PublishAtlas(
        job.publication, stored, job.source.class_names, statistics
    )
