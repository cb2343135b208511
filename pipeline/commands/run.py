"""Runs a job: claims the atlas, begins it, runs the graph, and says how it went."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commands.console import print_first_look
from pipeline.config.keys import Config
from pipeline.run.begin import Mode, begin_atlas, check_output
from pipeline.run.job import Prepared, prepare
from pipeline.run.launch import execute
from pipeline.run.lease import check_unclaimed, claimed
from pipeline.run.progress import Progress
from transforms.storage import join
from transforms.store.layout import CLASSES

_MAPS = (pa.BaseExtensionType, pa.ListType, pa.FixedSizeListType)
_LOGGER = logging.getLogger(__name__)


def run(
    config: Config,
    mode: Mode,
    beam_options: Sequence[str],
    progress: Progress,
    preset: str | None = None,
    *,
    allow_empty: bool = False,
    min_examples: int = 0,
) -> dict[str, Any]:
    """Makes or completes an atlas.

    Args:
      config: The configuration.
      mode: What may be found at the output path.
      beam_options: Override the configuration's `runner` section.
      progress: Shows how far it is.
      preset: Of Beam's options, which both override; None is `local` where neither names a runner.
      allow_empty: Whether input files without any record are no failure.
      min_examples: How many examples have to be explained.

    Returns:
      The manifest, and under `metrics` the counters of this run. Where the options say not to wait,
      what is known at the beginning, with the status `submitted`.

    Raises:
      ConfigurationError: Before any work.
      RunError: It could not be finished, or too much failed, or there is too little.
    """
    # Beam is heavy, and whoever runs in memory does without.
    from pipeline.runners.options import only_submits, options_of_run, processes_here, with_package
    from pipeline.runners.requirements import runner_name
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    options = options_of_run(config, beam_options, preset, storage)
    check_output(storage.absolute(config.output.path))
    watch = check_unclaimed(storage.absolute(config.output.path), storage, patient=mode != "new")
    with progress.starting("reading the input files"):
        prepared = prepare(
            config,
            storage,
            mode,
            runner_name(options),
            processes_here(options),
            announce=progress.announce,
        )
    _say(prepared, progress)
    prepared = prepared.demanding(min_records=int(not allow_empty), min_examples=min_examples)
    leaves = only_submits(options)
    if leaves:
        prepared = prepared.without_lease()
    job = prepared.job
    claim = claimed(job.atlas, job.attempt, storage, watch, keep_folder=leaves)
    with claim, with_package(options):
        begin_atlas(job.publication, mode, storage)
        return execute(prepared, options, progress, storage)


def _say(prepared: Prepared, progress: Progress) -> None:
    """Says what the model gets, and what looks wrong in it."""
    if progress.stream is not None and prepared.trial is not None:
        print_first_look(prepared.trial.look.as_dict(), progress.stream)
    for warning in prepared.warnings:
        _LOGGER.warning("%s", warning)


def class_rows(atlas: str) -> list[dict[str, Any]]:
    """The statistics of a finished atlas, a row per class, less their maps and histograms.

    Args:
      atlas: The output path.
    """
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    with storage.open(join(storage.absolute(atlas), CLASSES)) as file:
        table = pq.read_table(file)
    kept = [
        name for name in table.column_names if not isinstance(table.schema.field(name).type, _MAPS)
    ]
    rows: list[dict[str, Any]] = table.select(kept).to_pylist()
    return rows
