"""What two atlases are to each other, by their manifests: same data, same model, same method?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pipeline.atlas import Atlas
from pipeline.audit.comparable import check_finished
from transforms.errors import ConfigurationError
from transforms.formats.sample import DrawnSample
from transforms.statistics.columns import POSITIVE_SHARE
from transforms.store.manifest import Manifest

Kind = Literal["model", "method", "data", "same"]
"""What is another one; `same` where nothing is."""

_TITLES: Mapping[Kind, str] = {
    "model": "{data} and another model",
    "method": "{data} and the same model, explained otherwise",
    "data": "the same model and other data",
    "same": "{data}, the same model and the same method",
}
_MACHINE = ("batch_size", "threads")  # of the section explain: maps do not depend on them
_DIGITS = 8  # of a digest


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two atlases.

    Attributes:
      atlas: The atlas.
      manifest: What it says of itself.
    """

    atlas: Atlas
    manifest: Manifest

    @classmethod
    def of(cls, atlas: Atlas) -> Side:
        """An atlas that is whole.

        Raises:
          RunError: It is incomplete, or its run has failed.
        """
        check_finished(atlas)
        return cls(atlas, Manifest.from_json(atlas.manifest))

    @property
    def files(self) -> frozenset[tuple[str, int]]:
        """The input files: their folders below `maps/`, and their bytes."""
        return frozenset((shard.folder, shard.size) for shard in self.manifest.input_files)

    @property
    def data(self) -> tuple[frozenset[tuple[str, int]], DrawnSample | None]:
        """The input files and the sample of their examples."""
        return self.files, self.manifest.sample

    @property
    def is_signed(self) -> bool:
        """Whether its maps have a sign."""
        return POSITIVE_SHARE in self.manifest.stored.measures

    @property
    def model_digest(self) -> object:
        """Of what is in the model's files."""
        return self.manifest.settings.get("model", {}).get("digest")

    @property
    def method(self) -> dict[str, Any]:
        """What its maps depend on beside data and model, by dotted key."""
        settings = self.manifest.settings
        explain = settings.get("explain", {})
        kept = {
            "source": {"input": settings.get("source", {}).get("input", {})},
            "model": {k: v for k, v in settings.get("model", {}).items() if k != "digest"},
            "explain": {k: v for k, v in explain.items() if k not in _MACHINE},
            "output": {"codec": self.manifest.stored.codec},
            "statistics": {"sketch": list(self.manifest.stored.sketch_shape)},
        }
        return dict(_flat(kept))


@dataclasses.dataclass(frozen=True)
class Difference:
    """A key in which the two differ; its values as JSON, null where there is none."""

    key: str
    first: str
    second: str


@dataclasses.dataclass(frozen=True)
class Relation:
    """What two atlases are to each other.

    Attributes:
      first: The atlas from which changes are measured.
      second: The other.
      kind: What is another one.
      differences: Each key that differs: the model first, then how it explains.
      has_same_data: Whether all input files are the same, by place and size, and their sample is.
    """

    first: Side
    second: Side
    kind: Kind
    differences: tuple[Difference, ...]
    has_same_data: bool

    @property
    def sentence(self) -> str:
        """What the two are, in words."""
        data = "the same data" if self.has_same_data else "examples in common"
        return _TITLES[self.kind].format(data=data)

    @property
    def is_joined(self) -> bool:
        """Whether examples are met one by one; else only their distributions are."""
        return self.kind != "data"

    @property
    def is_signed(self) -> bool:
        """Whether both have maps with a sign."""
        return self.first.is_signed and self.second.is_signed

    @property
    def has_ids(self) -> bool:
        """Whether the data of both name their examples."""
        return self.first.manifest.has_given_ids and self.second.manifest.has_given_ids

    @property
    def has_same_maps(self) -> bool:
        """Whether maps have the same shape, so that they can be met place by place."""
        return self.first.manifest.stored.map_shape == self.second.manifest.stored.map_shape

    @property
    def has_same_grid(self) -> bool:
        """Whether sketches have the same shape."""
        shapes = (each.manifest.stored.sketch_shape for each in (self.first, self.second))
        return len(set(shapes)) == 1


def relate(first: Atlas, second: Atlas) -> Relation:
    """Says what two atlases are to each other.

    Args:
      first: The atlas from which changes are measured.
      second: The other.

    Raises:
      RunError: One of them is not whole.
      ConfigurationError: They do not compare; it says why, and what to give.
    """
    if first.path.rstrip("/") == second.path.rstrip("/"):
        raise ConfigurationError(f"{first.path} is given twice: give two atlases")
    sides = Side.of(first), Side.of(second)
    same_data = sides[0].data == sides[1].data
    same_model = sides[0].model_digest == sides[1].model_digest
    method = list(_method_differences(*sides))
    kind: Kind = "same" if not method else "method"
    if not same_model:
        kind = "model"
    elif not same_data and not method:
        kind = "data"
    differences = [] if same_model else [_model_difference(*sides)]
    relation = Relation(*sides, kind, (*differences, *method), same_data)
    for problem in _problems(relation):
        raise ConfigurationError(f"{second.path} does not compare with {first.path}: {problem}")
    return relation


def _problems(relation: Relation) -> Iterator[str]:
    """Why two atlases do not compare, and what to do."""
    first, second = relation.first, relation.second
    names = first.manifest.class_names, second.manifest.class_names
    if all(names) and names[0] != names[1]:
        place = next((n for n, pair in enumerate(zip(*names, strict=False)) if len({*pair}) > 1), 0)
        shown = [repr(each[place]) for each in names]
        what = f"class {place} is {shown[0]} in one and {shown[1]} in the other"
        if len(names[0]) != len(names[1]):
            what = f"one has {len(names[0])} names of classes, the other {len(names[1])}"
        yield f"{what}; make both with the same source.classes"
    kinds = [
        each.manifest.config["source"].get("input", {}).get("kind") for each in (first, second)
    ]
    if kinds[0] != kinds[1]:
        yield f"one explains {kinds[0]}s, the other {kinds[1]}s; give two of the same kind"
    if not relation.has_same_grid and not (relation.is_joined and relation.has_same_maps):
        grids = [list(each.manifest.stored.sketch_shape) for each in (first, second)]
        yield (
            f"their maps have other sizes, and statistics.sketch is {grids[0]} and {grids[1]}; "
            "make both with the same statistics.sketch"
            if relation.is_joined
            else f"statistics.sketch is {grids[0]} and {grids[1]}; make both with the same one"
        )
    shared = relation.has_same_data or bool(first.files & second.files) or relation.has_ids
    if relation.is_joined and not shared:
        what = "their models" if relation.kind == "model" else relation.differences[0].key
        yield (
            f"their data differ, and so {'do' if relation.kind == 'model' else 'does'} {what}, so "
            "whatever moved may be due to either; give two of the same data, or of the same model "
            "and method, or name the examples by source.features.id"
        )


def _model_difference(first: Side, second: Side) -> Difference:
    names = [json.dumps(each.manifest.config["model"]["uri"]) for each in (first, second)]
    if names[0] == names[1]:  # of the same place at other times
        digests = [str(each.model_digest)[:_DIGITS] for each in (first, second)]
        names = [f"{name} ({digest})" for name, digest in zip(names, digests, strict=True)]
    return Difference("model", *names)


def _method_differences(first: Side, second: Side) -> Iterator[Difference]:
    ours, theirs = first.method, second.method
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            yield Difference(key, *(json.dumps(each.get(key)) for each in (ours, theirs)))


def _flat(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, (*path, key))
        else:
            yield ".".join((*path, key)), each
