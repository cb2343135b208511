"""A comparison, read top to bottom: what the two are, which blocks are met, what moved."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.atlas import Atlas
from pipeline.audit.result import SampleSize
from pipeline.compare.distributions import compare_distributions
from pipeline.compare.joined import CONFIDENCE, finish
from pipeline.compare.meeting import MapRule, meet
from pipeline.compare.pairing import Blocks, Open, Pairing, pair_blocks
from pipeline.compare.relation import Relation, Side
from pipeline.compare.result import AtlasComparison, ComparedAtlas, JoinedExamples, KeyDifference
from pipeline.compare.sums import JoinedSums
from transforms.errors import RunError
from transforms.storage import to_text

Join = Callable[[Relation], tuple[Pairing, JoinedSums]]
"""Meets the examples of two atlases one by one."""


def compare(relation: Relation, join: Join | None = None) -> AtlasComparison:
    """Compares two atlases.

    Args:
      relation: What they are to each other (`relate`).
      join: Meets examples, where they are the same; None does it in this process.

    Raises:
      RunError: One of them cannot be read.
      ConfigurationError: They have no example in common.
    """
    joined: JoinedExamples | None = None
    if relation.is_joined:
        pairing, sums = (join or join_here)(relation)
        joined = finish(relation, pairing, sums)
    return AtlasComparison(
        relation=relation.kind,
        sentence=relation.sentence,
        differences=[
            KeyDifference(key=each.key, first=each.first, second=each.second)
            for each in relation.differences
        ],
        first=_compared(relation.first),
        second=_compared(relation.second),
        confidence=CONFIDENCE,
        joined=joined,
        distributions=None if relation.is_joined else compare_distributions(relation),
    )


def join_here(relation: Relation) -> tuple[Pairing, JoinedSums]:
    """Meets examples in this process, block by block."""
    pairing, (open_first, open_second) = pair_up(relation), _openers(relation)
    rule, sums = map_rule(relation), JoinedSums()
    for pair in pairing.pairs:
        sums.add(meet(pair, rule, open_first, open_second))
    return pairing, sums


def pair_up(relation: Relation) -> Pairing:
    """Says which blocks are met, and reads the ids of files that only one of both has.

    Raises:
      RunError: An atlas has not all of its blocks.
    """
    first, second = (_blocks_of(each) for each in (relation.first, relation.second))
    return pair_blocks(first, second, _openers(relation) if relation.has_ids else None)


def _openers(relation: Relation) -> tuple[Open, Open]:
    return _opener(relation.first.atlas), _opener(relation.second.atlas)


def _opener(atlas: Atlas) -> Open:
    return lambda path: atlas.open_block(f"{atlas.path}/{path}")


def _blocks_of(side: Side) -> Blocks:
    root, manifest = side.atlas.path, side.manifest
    paths = [path[len(root) + 1 :] for path in side.atlas.block_paths]
    if manifest.result is not None and len(paths) != manifest.result.blocks:
        raise RunError(
            f"{root} has {len(paths)} of its {manifest.result.blocks} blocks: saliency-atlas "
            "verify says which are missing, and run --resume makes them anew"
        )
    return Blocks.of(paths, manifest.input_files, manifest.settings["output"]["block_size"])


def map_rule(relation: Relation) -> MapRule:
    """How maps are met."""
    return MapRule(
        whole=relation.has_same_maps, signed=relation.is_signed, with_ids=relation.has_ids
    )


def _compared(side: Side) -> ComparedAtlas:
    manifest, result = side.manifest, side.manifest.result
    return ComparedAtlas(
        atlas=to_text(side.atlas.path),
        fingerprint=manifest.fingerprint,
        model=to_text(manifest.config["model"]["uri"]),
        method=method_name(manifest.settings["explain"]["method"]),
        started=manifest.started,
        examples=0 if result is None else result.explained_examples,
        maps=0 if result is None else result.maps,
        sample=SampleSize.of(manifest.sample),
    )


def method_name(document: object) -> str:
    """A method's name, as a configuration gives it: alone, or with parameters."""
    return next(iter(document)) if isinstance(document, dict) else str(document)
