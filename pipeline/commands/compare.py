"""Compares two atlases: meets their examples on one of Beam's runners, or their tables here."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.atlas import Atlas
from pipeline.compare.compare import compare, map_rule, pair_up
from pipeline.compare.pairing import Pairing
from pipeline.compare.relation import Relation, relate
from pipeline.compare.result import AtlasComparison
from pipeline.compare.sums import JoinedSums
from pipeline.run.error_messages import is_foreseen, last_sentence
from pipeline.run.progress import Announce
from pipeline.runners.presets import LOCAL_RUNNER
from transforms.errors import ConfigurationError, RunError
from transforms.storage import join

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_LOGGER = logging.getLogger(__name__)


def compare_atlases(
    first: str,
    second: str,
    beam_options: Sequence[str],
    preset: str | None,
    announce: Announce,
) -> AtlasComparison:
    """Compares two atlases. Writes nothing but a small file in a temporary folder.

    Args:
      first: The atlas from which changes are measured.
      second: The other.
      beam_options: What followed `--`.
      preset: Of Beam's options; None is `local`.
      announce: Is told which step begins.

    Raises:
      ConfigurationError: They do not compare, or an option is wrong.
      RunError: One of them is not whole, or cannot be read.
    """
    announce("reading the manifests")
    relation = relate(Atlas.open(first), Atlas.open(second))
    if not relation.is_joined and (beam_options or preset):
        given = f"--runner {preset}" if preset else "options of Beam's after --"
        raise ConfigurationError(
            f"these are {relation.sentence}, of which small tables are compared, on no runner: "
            f"leave out {given}"
        )
    join_on_runner = functools.partial(
        _join, folders=(first, second), given=(beam_options, preset), announce=announce
    )
    return compare(relation, join_on_runner)


def _join(
    relation: Relation,
    *,
    folders: tuple[str, str],
    given: tuple[Sequence[str], str | None],
    announce: Announce,
) -> tuple[Pairing, JoinedSums]:
    """Meets examples on a runner."""
    announce("importing Beam")
    from pipeline.runners.options import pipeline_options
    from transforms.filesystems import BeamStorage

    storage = BeamStorage()
    roots = storage.absolute(folders[0]), storage.absolute(folders[1])
    options = pipeline_options({}, *given)
    _check_options(options, roots)
    announce("reading which blocks there are")
    pairing = pair_up(relation)
    announce(f"meeting {len(pairing.pairs):,} pairs of blocks")
    with _folder(options, roots) as folder:
        return pairing, _run(relation, pairing, roots, folder, options)


def _run(
    relation: Relation,
    pairing: Pairing,
    roots: tuple[str, str],
    folder: str,
    options: PipelineOptions,
) -> JoinedSums:
    import apache_beam as beam

    from pipeline.compare.graph import SUMS, build
    from pipeline.runners.options import with_package
    from transforms.filesystems import BeamStorage

    pipeline = beam.Pipeline(options=options)
    build(pipeline, pairing.pairs, map_rule(relation), roots, folder)
    try:
        with with_package(options):
            pipeline.run().wait_until_finish()
    except Exception as error:  # Runners wrap whatever stopped them in errors of their own.
        if not is_foreseen(error):
            _LOGGER.error("the comparison stopped at something unforeseen", exc_info=error)
        raise RunError(f"the comparison stopped: {last_sentence(error)}") from error
    with BeamStorage().open(join(folder, SUMS)) as stream:
        return JoinedSums.from_json(stream.read())


def _check_options(options: PipelineOptions, roots: tuple[str, str]) -> None:
    """Refuses what a comparison cannot do on a runner, before any work."""
    from apache_beam.io.filesystems import FileSystems

    from pipeline.runners.options import only_submits
    from pipeline.runners.requirements import runner_name

    FileSystems.set_options(options)  # HDFS and S3 are told by options where they are
    if only_submits(options):
        raise ConfigurationError(
            "compare prints what it finds, so it has to wait for it: leave out "
            "--no_wait_until_finish and --template_location"
        )
    for root in roots:
        if runner_name(options) == "DataflowRunner" and "://" not in root:
            raise ConfigurationError(
                f"Dataflow's workers cannot reach {root}: copy it to a bucket and give its gs:// "
                "address"
            )


@contextlib.contextmanager
def _folder(options: PipelineOptions, roots: tuple[str, str]) -> Iterator[str]:
    """A folder for the sums that this machine and the workers reach, while the body runs."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    from pipeline.runners.requirements import runner_name
    from transforms.filesystems import BeamStorage

    place = options.view_as(GoogleCloudOptions).temp_location
    is_here = runner_name(options) == LOCAL_RUNNER
    if not place or is_here:
        if not is_here and any("://" in root for root in roots):
            raise ConfigurationError(
                "the workers need a folder that this machine reaches, too, to hand on what they "
                "found: give --temp_location after --"
            )
        folder = tempfile.mkdtemp(prefix="saliency-atlas-compare-")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
        return
    storage, folder = BeamStorage(), join(place, f"saliency-atlas-compare-{uuid.uuid4().hex}")
    storage.make_folder(folder)
    try:
        yield folder
    finally:
        storage.delete(folder)
