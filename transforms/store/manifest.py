"""The manifest of an atlas: what ran, on what, with what result. Made by a run, read by all others.

On disk it is one flat JSON object; `result` exists there as its keys, once the run has ended.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import pydantic

from transforms.elements import Shard
from transforms.errors import ConfigurationError, RunError
from transforms.storage import Storage, from_text, join
from transforms.store.counts import RunCounts
from transforms.store.files import replace_file
from transforms.store.layout import FORMAT_VERSION, MANIFEST
from transforms.store.map_format import MapFormat

Status: TypeAlias = Literal["incomplete", "complete", "failed"]
Json: TypeAlias = dict[str, Any]
"""What JSON holds; its own maker knows what is in it."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class RecordedShard(_Part):
    """An input file, as it was listed.

    Attributes:
      path: Absolute path or URI, as `storage.to_text` writes it.
      size: Bytes.
    """

    path: str
    size: int

    @property
    def shard(self) -> Shard:
        """The element."""
        return Shard(from_text(self.path), self.size)


class RecordedMapFormat(_Part):
    """`MapFormat`, as JSON has it."""

    map_shape: list[int]
    codec: str
    sketch_shape: list[int]
    with_boxes: bool
    with_predictions: bool

    @property
    def stored(self) -> MapFormat:
        """The noun of which it is the record."""
        return MapFormat(
            map_shape=tuple(self.map_shape),
            codec=self.codec,
            sketch_shape=tuple(self.sketch_shape),
            with_boxes=self.with_boxes,
            with_predictions=self.with_predictions,
        )

    @classmethod
    def of(cls, stored: MapFormat) -> RecordedMapFormat:
        """As the manifest has it."""
        return cls(
            map_shape=list(stored.map_shape),
            codec=stored.codec,
            sketch_shape=list(stored.sketch_shape),
            with_boxes=stored.with_boxes,
            with_predictions=stored.with_predictions,
        )


class RunResult(_Part):
    """What a run came to.

    Attributes:
      records_read: `explained_examples` + `failed_records`.
      explained_examples: Examples with at least one map.
      failed_records: Records and examples with a failure.
      failed_fraction: Their share of the records read, 0..1.
      maps: Rows of the maps tables.
      blocks: Committed blocks.
      map_bytes: Size of their files.
      maps_digest: Sum of the files' digests, modulo 2^64, in hex.
      blocks_resumed: Blocks that earlier runs had committed.
      wall_seconds: From the beginning of this run to its manifest.
      examples_per_second: Explained by this run, start-up excluded; None where nothing was left.
      finished: When, in ISO 8601.
      digests: SHA-256 of each table beside the maps, by file name.
    """

    records_read: int
    explained_examples: int
    failed_records: int
    failed_fraction: float
    maps: int
    blocks: int
    map_bytes: int
    maps_digest: str
    blocks_resumed: int
    wall_seconds: float
    examples_per_second: float | None
    finished: str
    digests: dict[str, str]

    @classmethod
    def of(
        cls, counts: RunCounts, digests: Mapping[str, str], started: float, ended: float
    ) -> RunResult:
        """The result of a run that has ended.

        Args:
          counts: What its blocks add up to.
          digests: SHA-256 of each table beside the maps, by file name.
          started: Seconds since the epoch.
          ended: Seconds since the epoch.
        """
        return cls(
            **counted(counts),
            blocks_resumed=counts.blocks - counts.blocks_made,
            wall_seconds=round(ended - started, 3),
            examples_per_second=counts.examples_per_second,
            finished=timestamp(ended),
            digests=dict(digests),
        )


def counted(counts: RunCounts) -> Json:
    """What a manifest says of an atlas's blocks, whoever counts them and when."""
    return {
        "records_read": counts.records_read,
        "explained_examples": counts.explained_examples,
        "failed_records": counts.failed_records,
        "failed_fraction": counts.failed_fraction,
        "maps": counts.maps,
        "blocks": counts.blocks,
        "map_bytes": counts.map_bytes,
        "maps_digest": f"{counts.digest:016x}",
    }


class Manifest(_Part):
    """What ran, on what, and once it has ended with what result.

    Attributes:
      format: Of the atlas; `layout.FORMAT_VERSION` is what is written here.
      status: `incomplete` until everything else is there; `failed` where too much failed.
      fingerprint: SHA-256 of `settings`, in hex.
      settings: What the maps' bytes depend on, beside the inputs.
      config: The whole configuration.
      model: What the model is (`LoadedModel.describe`).
      shards: The input files.
      map_format: What is stored of a map.
      class_names: By class index, or empty.
      engine: Who computes the gradient.
      engine_notes: What was not done as one would expect, and the speeds measured.
      engine_agreement: With the reference engine; None where nothing was compared.
      batch_size: Examples in one call of the model.
      batch_size_measured: Examples a second by batch size; None where it was given.
      threads: Of one operation.
      runner: Beam's, or `in_memory`; None of a plan.
      started: When, in ISO 8601.
      versions: Of Python and of the distributions that made the atlas.
      result: What the run came to; None while it is incomplete.
    """

    format: int
    status: Status
    fingerprint: str
    settings: Json
    config: Json
    model: Json
    shards: list[RecordedShard]
    map_format: RecordedMapFormat
    class_names: list[str]
    engine: str
    engine_notes: list[str]
    engine_agreement: Json | None
    batch_size: int
    batch_size_measured: dict[str, float] | None
    threads: int
    runner: str | None
    started: str
    versions: dict[str, str]
    result: RunResult | None = None

    @property
    def stored(self) -> MapFormat:
        """What is stored of a map."""
        return self.map_format.stored

    @property
    def input_files(self) -> tuple[Shard, ...]:
        """The input files, as they were listed."""
        return tuple(recorded.shard for recorded in self.shards)

    def ended(self, result: RunResult, status: Status) -> Manifest:
        """The manifest of the run once it has ended."""
        return self.model_copy(update={"result": result, "status": status})

    def recounted(self, counts: RunCounts, digests: Mapping[str, str]) -> Manifest:
        """The same manifest with an ended run's blocks counted anew; itself where none ended."""
        if self.result is None:
            return self
        again = {**counted(counts), "digests": dict(digests)}
        return self.model_copy(update={"result": self.result.model_copy(update=again)})

    def as_json(self) -> Json:
        """The flat object on disk."""
        flat = self.model_dump(mode="json")
        result = flat.pop("result")
        return flat if result is None else {**flat, **result}

    @classmethod
    def from_json(cls, flat: Mapping[str, Any]) -> Manifest:
        """Takes back what `as_json` gives.

        Raises:
          pydantic.ValidationError: A key is missing, unknown or of another type.
        """
        names = RunResult.model_fields.keys() & flat.keys()
        begun = {name: value for name, value in flat.items() if name not in names}
        result = {name: flat[name] for name in names} or None
        return cls.model_validate({**begun, "result": result})


def timestamp(seconds: float) -> str:
    """Seconds since the epoch in ISO 8601.

    >>> timestamp(0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


def write_manifest(root: str, manifest: Manifest, storage: Storage, run: str) -> None:
    """Writes the manifest: sorted, indented, one trailing newline.

    Raises:
      RunError: It cannot be written, or another run than this one has taken over.
    """
    text = json.dumps(manifest.as_json(), indent=2, sort_keys=True, allow_nan=False)
    replace_file(root, MANIFEST, (text + "\n").encode(), storage, run)


def read_manifest(root: str, storage: Storage) -> Manifest | None:
    """The manifest of an atlas, or None where there is none.

    Raises:
      ConfigurationError: The atlas is of another format.
      RunError: The manifest is damaged.
    """
    path = join(root, MANIFEST)
    try:
        with storage.open(path) as stream:
            text = stream.read()
    except FileNotFoundError:
        return None
    flat = parse_manifest(text, path)
    check_format(flat, root)
    try:
        return Manifest.from_json(flat)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{where}: {first['msg'].lower()}") from error


def existing_manifest(root: str, storage: Storage) -> Manifest:
    """The manifest of an atlas that has to be there.

    Raises:
      ConfigurationError: There is no atlas, or one of another format.
      RunError: The manifest is damaged.
    """
    manifest = read_manifest(root, storage)
    if manifest is None:
        raise ConfigurationError(
            f"{root} is no atlas: it has no {MANIFEST}; give the output.path of a run"
        )
    return manifest


def parse_manifest(text: bytes, path: str) -> Json:
    """The JSON object in a manifest's file.

    Raises:
      RunError: It is none.
    """
    try:
        flat = json.loads(text)
    except ValueError as error:  # Text that is not UTF-8 is one, too.
        raise _damaged(path, str(error) if text else "it is empty") from error
    if not isinstance(flat, dict):
        raise _damaged(path, "it is no JSON object")
    return flat


def check_format(flat: Mapping[str, Any], root: str) -> None:
    """Refuses an atlas of another format than is written here.

    Raises:
      ConfigurationError: Naming both formats and the remedy.
    """
    found = flat.get("format")
    if found == FORMAT_VERSION:
        return
    newer = isinstance(found, int) and found > FORMAT_VERSION
    remedy = (
        "install a newer saliency-atlas"
        if newer
        else "make the atlas anew with run --overwrite, or use the version that made it"
    )
    raise ConfigurationError(
        f"{root} is an atlas of format {found}, and this version works with format "
        f"{FORMAT_VERSION}: {remedy}"
    )


def _damaged(path: str, why: str) -> RunError:
    return RunError(
        f"{path} is damaged ({why}): restore it, or make the atlas anew with run --overwrite"
    )
