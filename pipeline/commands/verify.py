"""Checks a finished atlas against itself, and against the inputs that it is meant to explain.

Everything is read: every page of every map with its checksum. Nothing is written, no model is
loaded, nothing is explained.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.keys import LATER_KEYS, Config
from pipeline.run.fingerprint import (
    given_settings,
    setting_differences,
    settings_digest,
    shard_differences,
)
from pipeline.run.inspect import class_names_of, list_shards, regions_of
from pipeline.run.lease import check_unclaimed
from transforms.elements import CommittedBlock, Shard
from transforms.errors import ConfigurationError, RunError
from transforms.formats.reader import read_blocks
from transforms.models.files import model_digest
from transforms.storage import Storage, join
from transforms.store.blocks import (
    BlockFile,
    UntrustedBlockError,
    holds_blocks,
    list_maps_folder,
    missing_blocks,
    read_committed,
)
from transforms.store.checking import block_problems, thumbnail_problems
from transforms.store.layout import MANIFEST, block_path
from transforms.store.manifest import Manifest, read_manifest
from transforms.store.outcome.result import RunResult, counted
from transforms.store.outcome.summary import AtlasSummary
from transforms.store.tables import encode_table, final_tables

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
        elif holds_blocks(root, storage):
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
        self._shards = manifest.input_files
        self._block_size: int = manifest.settings["output"]["block_size"]
        self._summary = AtlasSummary(manifest.stored, manifest.has_given_ids)

    def counts(self) -> dict[str, Any]:
        """What was found."""
        counts = self._summary.record.counts
        return {
            "status": self._manifest.status,
            "shards": len(self._shards),
            "blocks": counts.blocks,
            "maps": counts.maps,
            "records_read": counts.records_read,
            "explained_examples": counts.explained_examples,
            "failed_records": counts.failed_records,
            "warned_images": counts.warned_images,
            "left_out_records": counts.left_out_records,
        }

    def problems(self, config: Config | None) -> Iterator[Problem]:
        """All that is missing or wrong."""
        yield from map(self._of_manifest, self._manifest_problems())
        folder = list_maps_folder(self._root, self._shards, self._storage)
        for path in folder.strangers:
            yield Problem(path, "it belongs to no input file of the manifest: remove it")
        comparison = None
        if config is not None:
            comparison = _Comparison(config, self._manifest, self._storage)
            yield from map(self._of_manifest, comparison.differences())
        whole = True
        for shard in self._shards:
            found = list(self._shard_problems(shard, folder.blocks[shard.folder], comparison))
            whole = whole and not found
            yield from found
        result = self._manifest.result
        if whole and result is not None and self._manifest.status != "incomplete":
            yield from self._sums(result)

    def _of_manifest(self, what: str) -> Problem:
        return Problem(join(self._root, MANIFEST), what)

    def _manifest_problems(self) -> Iterator[str]:
        manifest = self._manifest
        if manifest.status == "incomplete":
            yield "its status is incomplete: go on with --resume"
        if manifest.status == "failed":
            yield f"its status is failed, as {_why_failed(manifest)}"
        if settings_digest(manifest.settings) != manifest.fingerprint:
            yield "its settings are not those of its fingerprint"
        folders = {shard.folder for shard in self._shards}
        if len(folders) < len(self._shards):
            yield "two of its input files have the same folder"

    def _shard_problems(
        self, shard: Shard, files: Sequence[BlockFile], comparison: _Comparison | None
    ) -> Iterator[Problem]:
        blocks: dict[int, CommittedBlock] = {}
        for file in files:
            try:
                block = read_committed(file, shard, self._manifest.fingerprint, self._storage)
            except (UntrustedBlockError, OSError) as error:
                yield Problem(file.path, f"{_of_file(file.path, error)}: go on with --resume")
                continue
            blocks[file.number] = block
            wrong = list(block_problems(block, shard, self._block_size, self._manifest.stored))
            if not wrong:
                with self._storage.open(file.path) as stream:
                    wrong = list(thumbnail_problems(stream, self._manifest.stored))
            for what in wrong:
                yield Problem(file.path, f"{what}: remove it and go on with --resume")
            if not wrong:  # else its values may be none that can be summed
                self._summary.add(block)
        yield from self._gaps(shard, [file.number for file in files], blocks)
        if comparison is not None:
            for number, what in comparison.block_differences(shard, blocks):
                yield Problem(block_path(self._root, shard, number), what)

    def _gaps(
        self, shard: Shard, numbers: Sequence[int], blocks: Mapping[int, CommittedBlock]
    ) -> Iterator[Problem]:
        """Blocks that are missing, and those after the last one."""
        for number in missing_blocks([block.key for block in blocks.values()]):
            if number not in numbers:
                path = block_path(self._root, shard, number)
                yield Problem(path, "it is missing: go on with --resume")
        ends = [number for number, block in blocks.items() if block.key.last]
        for number in sorted(numbers) if ends else ():
            if number > min(ends):
                path = block_path(self._root, shard, number)
                yield Problem(path, f"it comes after the last block of {shard.path}: remove it")

    def _sums(self, result: RunResult) -> Iterator[Problem]:
        statistics = self._summary.statistics(self._manifest.class_names)
        record = self._summary.record
        for name, found in counted(record, statistics.left_out).items():
            recorded = getattr(result, name)
            if found != recorded:
                yield self._of_manifest(f"{name} is {recorded}, the blocks have {found}")
        for imbalance in record.imbalances(self._shards):
            yield self._of_manifest(f"it does not account for all of {imbalance}")
        tables = final_tables(statistics, record.failures(), self._manifest.sample)
        for name, table in tables.items():
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
        drawn = manifest.sample
        self._source = dataclasses.replace(
            config.source_spec(self._class_names), sample=None if drawn is None else drawn.sample
        )

    def differences(self) -> Iterator[str]:
        """Settings, model and input files that are others."""
        recorded = self._manifest.settings
        digest = model_digest(self._storage.absolute(self._config.model.uri), self._storage)
        regions = regions_of(self._config, self._storage)
        current = given_settings(self._config, self._class_names, digest, regions)
        for section, settings in current.items():  # the manifest knows what "auto" came to, too
            before = recorded.get(section, {})
            later = {key for key in before if f"{section}.{key}" in LATER_KEYS}
            known = {key: before.get(key) for key in {*settings, *later}}
            yield from setting_differences(known, settings, (section,))
        shards = list_shards(self._config, self._storage)
        yield from shard_differences(self._manifest.input_files, shards, may_be_rewritten=True)

    def block_differences(
        self, shard: Shard, stored: Mapping[int, CommittedBlock]
    ) -> Iterator[tuple[int, str]]:
        """Reads a shard again: numbers of blocks that hold other records, and how."""
        inputs, size = self._config.input_spec(), self._config.output.block_size
        shard = dataclasses.replace(shard, version=None)  # what is in it is compared
        try:
            for block in read_blocks(shard, self._source, inputs, size, self._storage):
                number = block.key.number
                if number not in stored:
                    continue
                committed = stored[number]
                failures = [
                    failure for failure in committed.failures if failure.stage in _READING_STAGES
                ]
                if block.key != committed.key or list(block.failures) != failures:
                    yield number, f"{shard.path} has other records there"
                elif committed.input_digest not in (None, block.examples.digest()):
                    yield number, f"{shard.path} has other examples there than were explained"
        except RunError as error:
            yield 0, str(error)


def _of_file(path: str, error: Exception) -> str:
    """What an error says of a file that is named beside it: the path once is enough."""
    said = str(error)
    return f"it {said.removeprefix(f'{path} ')}" if said.startswith(f"{path} ") else said


def _why_failed(manifest: Manifest) -> str:
    """What is over its budget in a failed atlas, and what to do."""
    result, limits = manifest.result, manifest.config["failures"]
    if result is None:
        return "nobody says why: its run has not ended"
    broken = len(result.broken_files)
    reasons = []
    if result.failed_fraction > limits["max_fraction"]:
        reasons.append(
            "more records failed than failures.max_fraction allows: read failures.parquet, and "
            "accept it with --resume --set failures.max_fraction=1.0"
        )
    if broken > limits.get("max_broken_files", 0):
        reasons.append(
            f"more input files are broken ({broken}) than failures.max_broken_files allows: see "
            "broken_files in manifest.json, and accept it with --resume --set "
            f"failures.max_broken_files={broken}"
        )
    if not reasons and not result.records_read:
        reasons.append("the input files hold no record: accept it with --resume --allow-empty")
    return "; and as ".join(reasons) or (
        "fewer examples were explained than --min-examples asked for: accept it with --resume"
    )
