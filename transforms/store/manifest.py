"""The manifest of an atlas: what ran, on what, with what result. Made by a run, read by all others.

On disk it is one flat JSON object; `result` exists there as its keys, once the run has ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import pydantic

from transforms.elements import Shard
from transforms.errors import ConfigurationError, RunError
from transforms.formats.sample import DrawnSample
from transforms.statistics.groups.slices import LeftOutSlice
from transforms.storage import Storage, from_text, join, to_text
from transforms.store.files import replace_file
from transforms.store.layout import FORMAT_VERSION, MANIFEST
from transforms.store.map_format import MapFormat
from transforms.store.outcome.record import AtlasRecord
from transforms.store.outcome.result import Part, RunResult, counted

Status: TypeAlias = Literal["incomplete", "complete", "failed"]
Json: TypeAlias = dict[str, Any]
"""What JSON holds; its own maker knows what is in it."""

CHECKSUM = "checksum"
"""The manifest's key with the SHA-256 of all the others."""


class RecordedShard(Part):
    """An input file, as it was listed.

    Attributes:
      path: Absolute path or URI, as `storage.to_text` writes it.
      size: Bytes.
      version: Another one whenever the content is; None where the storage does not tell.
    """

    path: str
    size: int
    version: str | None

    @classmethod
    def of(cls, shard: Shard) -> RecordedShard:
        """As the manifest has it."""
        return cls(path=to_text(shard.path), size=shard.size, version=shard.version)

    @property
    def shard(self) -> Shard:
        """The element."""
        return Shard(from_text(self.path), self.size, self.version)


class RecordedMapFormat(Part):
    """`MapFormat`, as JSON has it."""

    map_shape: list[int]
    codec: str
    sketch_shape: list[int]
    with_boxes: bool
    with_predictions: bool
    thumbnail_shape: list[int] | None = None
    slices: list[str] = pydantic.Field(default_factory=list)  # older atlases have none
    measures: list[str] = pydantic.Field(default_factory=list)
    with_windows: bool = False
    with_masks: bool = False
    regions: dict[str, float] = pydantic.Field(default_factory=dict)
    features: list[str] = pydantic.Field(default_factory=list)
    with_properties: bool = False

    @property
    def stored(self) -> MapFormat:
        """The noun of which it is the record."""
        return MapFormat(
            map_shape=tuple(self.map_shape),
            codec=self.codec,
            sketch_shape=tuple(self.sketch_shape),
            with_boxes=self.with_boxes,
            with_predictions=self.with_predictions,
            thumbnail_shape=None
            if self.thumbnail_shape is None
            else (self.thumbnail_shape[0], self.thumbnail_shape[1]),
            slices=tuple(self.slices),
            measures=tuple(self.measures),
            with_windows=self.with_windows,
            with_masks=self.with_masks,
            regions=dict(sorted(self.regions.items())),
            features=tuple(self.features),
            with_properties=self.with_properties,
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
            thumbnail_shape=None
            if stored.thumbnail_shape is None
            else list(stored.thumbnail_shape),
            slices=list(stored.slices),
            measures=list(stored.measures),
            with_windows=stored.with_windows,
            with_masks=stored.with_masks,
            regions=dict(stored.regions),
            features=list(stored.features),
            with_properties=stored.with_properties,
        )


class Manifest(Part):
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
      certificate: What the maps say about the model, by trials on a sample; None where none was
        asked for.
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
    certificate: Json | None = None
    result: RunResult | None = None

    @property
    def stored(self) -> MapFormat:
        """What is stored of a map."""
        return self.map_format.stored

    @property
    def input_files(self) -> tuple[Shard, ...]:
        """The input files, as they were listed."""
        return tuple(recorded.shard for recorded in self.shards)

    @property
    def sample(self) -> DrawnSample | None:
        """The sample that is explained; None where no sample was asked for."""
        drawn = self.settings.get("source", {}).get("sample_drawn")
        return None if drawn is None else DrawnSample.from_dict(drawn)

    @property
    def has_given_ids(self) -> bool:
        """Whether a feature of the data names the examples."""
        return self.config["source"]["features"]["id"] is not None

    def ended(self, result: RunResult, status: Status) -> Manifest:
        """The manifest of the run once it has ended."""
        return self.model_copy(update={"result": result, "status": status})

    def recounted(
        self,
        record: AtlasRecord,
        digests: Mapping[str, str],
        left_out: Sequence[LeftOutSlice] = (),
    ) -> Manifest:
        """The same manifest with an ended run's blocks counted anew; itself where none ended."""
        if self.result is None:
            return self
        again = {**counted(record, left_out), "digests": dict(digests)}
        return self.model_copy(update={"result": self.result.model_copy(update=again)})

    def as_json(self) -> Json:
        """The flat object on disk."""
        flat = self.model_dump(mode="json")
        result = flat.pop("result")
        flat |= result or {}
        return sealed(flat)

    @classmethod
    def from_json(cls, flat: Mapping[str, Any]) -> Manifest:
        """Takes back what `as_json` gives.

        Raises:
          pydantic.ValidationError: A key is missing, unknown or of another type.
          ValueError: The checksum is not that of the rest.
        """
        if flat != sealed(flat):
            raise ValueError("its checksum is not that of what it says")
        flat = {name: value for name, value in flat.items() if name != CHECKSUM}
        names = RunResult.model_fields.keys() & flat.keys()
        begun = {name: value for name, value in flat.items() if name not in names}
        result = {name: flat[name] for name in names} or None
        return cls.model_validate({**begun, "result": result})


def write_manifest(root: str, manifest: Manifest, storage: Storage, run: str) -> None:
    """Writes the manifest: sorted, indented, one trailing newline.

    Raises:
      RunError: It cannot be written, or another run than this one has taken over.
    """
    replace_file(root, MANIFEST, encode_manifest(manifest.as_json()), storage, run)


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
    return decode_manifest(text, root)


def decode_manifest(text: bytes, root: str) -> Manifest:
    """The manifest in a file's bytes.

    Args:
      text: All of the file.
      root: The atlas, for messages.

    Raises:
      ConfigurationError: The atlas is of another format.
      RunError: The manifest is damaged.
    """
    path = join(root, MANIFEST)
    flat = _parse(text, path)
    _check_format(flat, root)
    try:
        manifest = Manifest.from_json(flat)
        if text != encode_manifest(flat):
            raise ValueError("it was written by somebody else")
        return manifest
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{where}: {first['msg'].lower()}") from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error


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


def _parse(text: bytes, path: str) -> Json:
    try:
        flat = json.loads(text)
    except ValueError as error:  # Text that is not UTF-8 is one, too.
        raise _damaged(path, str(error) if text else "it is empty") from error
    if not isinstance(flat, dict):
        raise _damaged(path, "it is no JSON object")
    return flat


def _check_format(flat: Mapping[str, Any], root: str) -> None:
    """Refuses an atlas of another format than is written here."""
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


def sealed(flat: Mapping[str, Any]) -> Json:
    """A manifest's JSON with the checksum of everything else that it says."""
    content = {name: value for name, value in flat.items() if name != CHECKSUM}
    return {**content, CHECKSUM: hashlib.sha256(encode_manifest(content)).hexdigest()}


def encode_manifest(flat: Mapping[str, Any]) -> bytes:
    """A manifest's file: sorted, indented, one trailing newline."""
    return (json.dumps(flat, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _damaged(path: str, why: str) -> RunError:
    return RunError(
        f"{path} is damaged ({why}): restore it, or make the atlas anew with run --overwrite"
    )
