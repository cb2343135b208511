"""Checks a finished atlas against itself, and against the inputs that it is meant to explain.

Everything is read: every page of every map with its checksum. Nothing is written, no model is
loaded, nothing is explained.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.keys import Config
from pipeline.run.fingerprint import (
    given_settings,
    setting_differences,
    settings_digest,
    shard_differences,
)
from pipeline.run.inspect import class_names_of, list_shards
from pipeline.run.lease import check_unclaimed
from transforms.elements import CommittedBlock, Shard
from transforms.errors import ConfigurationError, RunError
from transforms.formats.reader import read_blocks
from transforms.models.files import model_digest
from transforms.storage import Storage, escape, join
from transforms.store.block_file import ROWS_PER_GROUP, block_metadata, body_is_whole
from transforms.store.blocks import BlockFile, list_all_blocks, list_blocks, read_committed
from transforms.store.layout import MANIFEST, MAPS_FOLDER, block_number, block_path
from transforms.store.manifest import Manifest, RunResult, counted, read_manifest
from transforms.store.map_format import MapFormat
from transforms.store.summary import AtlasSummary
from transforms.store.tables import encode_table

_READING_STAGES = ("read", "parse")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something missing or wrong.

    Attributes:
      path: The file.
      what: What is wrong with it, and where it helps, the remedy.
    """

    path: str
    what: str


def verify(atlas_path: str, storage: Storage, config: Config | None = None) -> dict[str, Any]:
    """Checks an atlas.

    Args:
      atlas_path: The atlas.
      storage: Where it and the inputs are.
      config: What it is to be an explanation of; None checks the atlas alone.

    Returns:
      What was checked, and under `problems` what is missing or wrong.

    Raises:
      ConfigurationError: There is no atlas, or a run works on it.
    """
    root = storage.absolute(atlas_path)
    check_unclaimed(root, storage)
    checked: dict[str, Any] = {"atlas": root, "against_inputs": config is not None}
    path = join(root, MANIFEST)
    try:
        manifest = read_manifest(root, storage)
    except RunError as error:
        problems = [Problem(path, str(error))]
    else:
        if manifest is not None:
            verification = _Verification(root, manifest, storage)
            problems = list(verification.problems(config))
            checked |= verification.counts()
        elif list_all_blocks(root, storage):
            problems = [Problem(path, "it is missing")]
        else:
            raise ConfigurationError(
                f"{atlas_path} is no atlas: it has no {MANIFEST}; give the output.path of a run"
            )
    return checked | {"problems": [dataclasses.asdict(problem) for problem in problems]}


class _Verification:
    """One check of one atlas.

    Args:
      root: The atlas.
      manifest: Its manifest.
      storage: Where it is.
    """

    def __init__(self, root: str, manifest: Manifest, storage: Storage) -> None:
        self._root = root
        self._manifest = manifest
        self._storage = storage
        self._format = manifest.stored
        self._shards = manifest.input_files
        self._block_size: int = manifest.settings["output"]["block_size"]
        self._summary = AtlasSummary(self._format)

    def counts(self) -> dict[str, Any]:
        """What was found."""
        counts = self._summary.counts
        return {
            "status": self._manifest.status,
            "shards": len(self._shards),
            "blocks": counts.blocks,
            "maps": counts.maps,
            "records_read": counts.records_read,
            "explained_examples": counts.explained_examples,
            "failed_records": counts.failed_records,
        }

    def problems(self, config: Config | None) -> Iterator[Problem]:
        """All that is missing or wrong."""
        if self._manifest.status == "incomplete":
            yield self._of_manifest("its status is incomplete: go on with --resume")
        if settings_digest(self._manifest.settings) != self._manifest.fingerprint:
            yield self._of_manifest("its settings are not those of its fingerprint")
        yield from self._strangers()
        comparison = None
        if config is not None:
            comparison = _Comparison(config, self._manifest, self._storage)
            for difference in comparison.differences():
                yield self._of_manifest(difference)
        whole = True
        for shard in self._shards:
            found = list(self._shard_problems(shard, comparison))
            whole = whole and not found
            yield from found
        result = self._manifest.result
        if whole and result is not None and self._manifest.status != "incomplete":
            yield from self._sums(result)

    def _of_manifest(self, what: str) -> Problem:
        return Problem(join(self._root, MANIFEST), what)

    def _strangers(self) -> Iterator[Problem]:
        folders = {shard.folder for shard in self._shards}
        pattern = escape(join(self._root, MAPS_FOLDER)) + "/*/*"
        for entry in self._storage.match(pattern):
            folder, name = entry.path.split("/")[-2:]
            if folder not in folders or block_number(name) is None:
                yield Problem(entry.path, "it belongs to no input file of the manifest: remove it")

    def _shard_problems(self, shard: Shard, comparison: _Comparison | None) -> Iterator[Problem]:
        blocks: dict[int, CommittedBlock] = {}
        digests: dict[int, str | None] = {}
        files = list_blocks(self._root, shard, self._storage)
        for file in files:
            try:
                block, digests[file.number] = self._read(file)
            except RunError as error:
                yield Problem(file.path, str(error))
                continue
            blocks[file.number] = block
            self._summary.add(block)
            for what in _block_problems(block, shard, file.number, self._block_size, self._format):
                yield Problem(file.path, f"{what}: remove it and go on with --resume")
        numbers = {file.number for file in files}
        ends = [number for number, block in blocks.items() if block.key.last]
        expected = ends[0] + 1 if ends else max(numbers, default=0) + 1
        for number in sorted({*range(expected)} - numbers):
            path = block_path(self._root, shard, number)
            yield Problem(path, "it is missing: go on with --resume")
        if not ends and blocks.keys() == numbers:
            path = block_path(self._root, shard, expected)
            yield Problem(path, f"no block is the last of {shard.path}: go on with --resume")
        for number in sorted(numbers - {*range(expected)}):
            path = block_path(self._root, shard, number)
            yield Problem(path, f"it comes after the last block of {shard.path}: remove it")
        if comparison is not None:
            for number, what in comparison.block_differences(shard, blocks, digests):
                yield Problem(block_path(self._root, shard, number), what)

    def _read(self, file: BlockFile) -> tuple[CommittedBlock, str | None]:
        """Reads a whole block, checksums and all, and gives what of it is needed further on."""
        fingerprint = self._manifest.fingerprint
        try:
            block = read_committed(file.path, file.size, fingerprint, self._storage)
            with self._storage.open(file.path) as stream:
                parquet = pq.ParquetFile(stream, page_checksum_verification=True)
                for _ in parquet.iter_batches(ROWS_PER_GROUP, use_threads=False):
                    pass
                schema = parquet.schema_arrow.remove_metadata()
                if not body_is_whole(parquet, stream):
                    raise ValueError("its bytes do not match their checksum")
                digest = block_metadata(parquet, file.path)["input_digest"]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"it cannot be read ({' '.join(str(error).split())}): remove it and go on with "
                "--resume"
            ) from error
        if not schema.equals(self._format.schema):
            raise RunError("its columns are not those of the manifest: remove it, then --resume")
        return block, digest

    def _sums(self, result: RunResult) -> Iterator[Problem]:
        recorded = result.model_dump()
        for name, found in counted(self._summary.counts).items():
            if found != recorded[name]:
                yield self._of_manifest(f"{name} is {recorded[name]}, the blocks have {found}")
        for name, table in self._summary.tables(self._manifest.class_names).items():
            path = join(self._root, name)
            expected = hashlib.sha256(encode_table(table)).hexdigest()
            if result.digests.get(name) != expected:
                yield self._of_manifest(f"its digest of {name} is not that of the blocks")
            try:
                with self._storage.open(path) as stream:
                    stored = hashlib.sha256(stream.read()).hexdigest()
            except FileNotFoundError:
                yield Problem(path, "it is missing: summarize makes it anew")
                continue
            if stored != expected:
                yield Problem(path, "it is not what the blocks add up to: summarize makes it anew")


class _Comparison:
    """An atlas beside a configuration and its inputs."""

    def __init__(self, config: Config, manifest: Manifest, storage: Storage) -> None:
        self._manifest = manifest
        self._storage = storage
        self._config = config
        self._class_names = class_names_of(config, storage)
        self._source = config.source_spec(self._class_names)

    def differences(self) -> Iterator[str]:
        """Settings, model and input files that are others."""
        recorded = self._manifest.settings
        digest = model_digest(self._storage.absolute(self._config.model.uri), self._storage)
        current = given_settings(self._config, self._class_names, digest)
        for section, settings in current.items():  # the manifest knows what "auto" came to, too
            known = {key: recorded.get(section, {}).get(key) for key in settings}
            yield from setting_differences(known, settings, (section,))
        shards = list_shards(self._config, self._storage)
        yield from shard_differences(self._manifest.input_files, shards, may_grow=False)

    def block_differences(
        self,
        shard: Shard,
        stored: Mapping[int, CommittedBlock],
        digests: Mapping[int, str | None],
    ) -> Iterator[tuple[int, str]]:
        """Reads a shard again: numbers of blocks that hold other records, and how."""
        inputs, size = self._config.input_spec(), self._config.output.block_size
        try:
            for block in read_blocks(shard, self._source, inputs, size, self._storage):
                number = block.key.number
                if number not in stored:
                    continue
                committed = stored[number]
                failures = [
                    failure for failure in committed.failures if failure.stage in _READING_STAGES
                ]
                same = dataclasses.replace(block.key, shard=shard) == committed.key
                if not same or list(block.failures) != failures:
                    yield number, f"{shard.path} has other records there"
                elif digests[number] not in (None, block.examples.digest()):
                    yield number, f"{shard.path} has other examples there than were explained"
        except RunError as error:
            yield 0, str(error)


def _block_problems(
    block: CommittedBlock, shard: Shard, number: int, block_size: int, stored: MapFormat
) -> Iterator[str]:
    """What is wrong with a block that can be read."""
    key = block.key
    if key.shard != shard or key.number != number or key.first_record != number * block_size:
        yield (
            f"it says to be block {key.number} of {key.shard.path}, "
            f"from record {key.first_record} on"
        )
    span = range(key.first_record, key.first_record + key.records)
    if not key.last and key.records != block_size:
        yield f"it has {key.records} records where a block has {block_size}"
    records = np.asarray(block.summary["record"])
    explained = np.unique(records).tolist()
    failed = [failure.record for failure in block.failures]
    if len(explained) != block.examples or block.examples + len(failed) != key.records:
        yield (
            f"it says {block.examples} examples of {key.records} records, and has maps of "
            f"{len(explained)} and {len(failed)} failures"
        )
    known = [record for record in failed if record is not None]
    if not {*explained, *known} <= {*span} or {*explained} & {*known} or len({*known}) < len(known):
        yield "its records are not each there once"
    if (np.diff(records) < 0).any():
        yield "its rows are not in order"
    yield from _value_problems(block.summary, shard, stored.statistic_names)


def _value_problems(summary: pa.Table, shard: Shard, statistics: Sequence[str]) -> Iterator[str]:
    if {*summary["shard"].to_pylist()} - {shard.name}:
        yield f"it names other input files than {shard.name}"
    scales = np.asarray(summary["map_scale"])
    if not np.isfinite(scales).all() or (scales < 0).any():
        yield "a map's scale is not a number from 0"
    for name in statistics:
        values = summary[name].drop_null().to_numpy()
        if not np.isfinite(values).all():
            yield f"its {name} is not finite somewhere"
