"""The whole Beam graph: read it top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apache_beam as beam
from apache_beam.utils.shared import Shared

from pipeline.run.job import Job
from transforms.elements import Portion
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
    *,
    alone: bool = False,
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
      alone: Whether there is one worker. Then nothing is spread over workers and brought together
        again, which would be a quarter of what a run takes whatever it explains.
    """
    explaining = hints or {}
    committed = Committed(job.atlas, job.fingerprint, job.attempt) if job.resume else None
    publication = job.publication
    shards = (
        root
        | "Start" >> beam.Impulse()
        | "Shards" >> beam.FlatMap(_portions, job.portions).with_output_types(Portion)
    )
    _ = (
        (shards if alone else shards | "SpreadShards" >> beam.Reshuffle())
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
            publication.lease,
            job.budget,
            folder_is_made=True,
        ).with_resource_hints(**explaining)
        | "AggregateStatistics"
        >> AggregateStatistics(
            job.explain.map_format, publication.manifest.has_given_ids, alone=alone
        )
        | "PublishAtlas" >> PublishAtlas(publication, job.source.class_names)
    )


def _portions(_: bytes, portions: Iterable[Portion]) -> Iterable[Portion]:
    """All of them; `beam.Create` takes two steps more."""
    return portions
