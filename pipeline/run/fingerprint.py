"""What the bytes of an atlas depend on beside its inputs, and what differs between two runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.keys import Config
from transforms.elements import Shard
from transforms.formats.sample import DrawnSample
from transforms.models.opening.imports import module_digest
from transforms.saliency.activations import ActivationLayer
from transforms.saliency.block import ExplainSpec
from transforms.statistics.regions import Region

Settings = dict[str, Any]
"""Sections of keys, as JSON's types."""


def given_settings(
    config: Config,
    class_names: Sequence[str],
    model_digest: str | None,
    regions: Sequence[Region],
) -> Settings:
    """What is known of the settings before anything is chosen; modules count by their code.

    Args:
      config: The configuration.
      class_names: What is in the file `source.classes`; what it is called does not count.
      model_digest: Of what is in the files of `model.uri`; where they are does not count.
      regions: Of the configuration; what their masks show counts, not where they are.
    """
    settings = config.fingerprint_settings()
    settings["source"]["classes"] = settings_digest(class_names) if class_names else None
    settings["model"]["digest"] = model_digest
    if regions:
        settings["statistics"]["regions"] = {each.name: each.settings for each in regions}
    if config.model.imports:
        settings["model"]["imports"] = {
            name: module_digest("model.imports", name) for name in config.model.imports
        }
    operator, separator, _ = config.explain.operator.partition(":")
    if separator:
        settings["explain"]["operator_digest"] = module_digest("explain.operator", operator)
    return settings


def run_settings(
    config: Config,
    class_names: Sequence[str],
    explain: ExplainSpec,
    drawn: DrawnSample | None = None,
) -> Settings:
    """All the settings of a run: what was given, what `auto` came to, and the sample."""
    settings = given_settings(config, class_names, explain.model.digest, explain.regions)
    if drawn is not None:
        settings["source"]["sample_drawn"] = drawn.as_dict()
    # Of another version, too: all the blocks of an atlas have the same columns.
    settings["output"]["columns"] = explain.map_format.schema.names
    settings["explain"]["batch_size"] = explain.program.batch_size
    settings["explain"]["threads"] = explain.threads
    settings["explain"]["engine"] = explain.program.engine.name
    settings["explain"]["precision"] = explain.program.engine.precision
    if isinstance(explain.program.layer, ActivationLayer):
        settings["explain"]["layer_path"] = explain.program.layer.path
    return settings


def settings_digest(value: Any) -> str:
    """SHA-256 of settings, in hex: an atlas's fingerprint."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def setting_differences(recorded: Any, current: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each setting in which an atlas and a run differ."""
    if isinstance(recorded, Mapping) and isinstance(current, Mapping):
        for key in sorted({*recorded, *current}):
            yield from setting_differences(recorded.get(key), current.get(key), (*path, key))
    elif recorded != current:
        yield f"{'.'.join(path)}: the atlas has {recorded!r}, this run {current!r}"


def shard_differences(
    recorded: Sequence[Shard],
    current: Sequence[Shard],
    *,
    may_grow: bool = False,
    may_be_rewritten: bool = False,
) -> Iterator[str]:
    """A line for each input file in which an atlas and a run differ.

    Args:
      recorded: The atlas's.
      current: The run's.
      may_grow: Whether files that are new to the atlas are no difference.
      may_be_rewritten: Whether it is none that a file was written again, with the same size: who
        reads all of it compares what is in it.
    """
    before = {shard.path: shard for shard in recorded}
    now = {shard.path: shard for shard in current}
    for path in sorted({*before, *now}):
        if path not in now:
            yield f"input file {path}: the atlas has it, this run does not"
        elif path not in before:
            if not may_grow:
                yield f"input file {path}: new to the atlas; take it in with --extend"
        elif before[path].size != now[path].size:
            yield f"input file {path}: it had {before[path].size} bytes, now {now[path].size}"
        elif not may_be_rewritten and _was_rewritten(before[path], now[path]):
            yield f"input file {path}: it has been written again since"


def _was_rewritten(before: Shard, now: Shard) -> bool:
    return None not in (before.version, now.version) and before.version != now.version
