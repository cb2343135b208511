"""What a run would do, and what it would take, from a few examples really explained."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from pipeline.config import Config
from pipeline.job import Prepared, prepare
from transforms.elements import Block, BlockKey
from transforms.formats.reader import probe
from transforms.mapstore import encode_block
from transforms.storage import Storage

_TIMED_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked job and its estimated cost.

    Attributes:
      atlas: Where the atlas will be.
      shards: How many input files.
      input_bytes: Their size.
      examples_estimated: Records in them.
      model: What it is, as in the manifest.
      batch_size: Examples in one call of the model.
      threads: Intra-op threads.
      examples_per_second: Explained by this machine in one process; None where no example could be.
      seconds_estimated: For all of them in one process.
      map_bytes_estimated: Size of the maps.
      sample: Means over the examples that were tried, by column.
      warnings: What no check refuses but a user should know.
    """

    atlas: str
    shards: int
    input_bytes: int
    examples_estimated: int
    model: dict[str, Any]
    batch_size: int
    threads: int
    examples_per_second: float | None
    seconds_estimated: float | None
    map_bytes_estimated: int | None
    sample: dict[str, float]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return dataclasses.asdict(self) | {"warnings": list(self.warnings)}


def plan(config: Config, storage: Storage) -> Plan:
    """Checks a configuration as `run` would, and estimates. Writes nothing.

    Args:
      config: The configuration.
      storage: Where inputs, model and atlas are.

    Raises:
      ConfigurationError: What `run` would refuse.
    """
    # An existing atlas is no reason not to plan: `run` says what may be done with it.
    prepared = prepare(config, storage, "overwrite", {})
    job = prepared.job
    examples = prepared.records_estimated
    measured = _measure(prepared, storage) if prepared.examples else None
    rate = None if measured is None else measured.examples_per_second
    return Plan(
        atlas=job.atlas,
        shards=len(job.shards),
        input_bytes=sum(shard.size for shard in job.shards),
        examples_estimated=examples,
        model=prepared.model.describe(),
        batch_size=job.explain.program.batch_size,
        threads=job.conclusion.manifest["threads"],
        examples_per_second=rate,
        seconds_estimated=examples / rate if rate else None,
        map_bytes_estimated=(
            None if measured is None else round(examples * measured.bytes_an_example)
        ),
        sample={} if measured is None else measured.means,
        warnings=prepared.warnings,
    )


@dataclasses.dataclass(frozen=True)
class _Measurement:
    examples_per_second: float
    bytes_an_example: float
    means: dict[str, float]


def _measure(prepared: Prepared, storage: Storage) -> _Measurement | None:
    """Explains a few mini-batches; the program has been compiled by `prepare`."""
    job = prepared.job
    count = min(_TIMED_BATCHES * job.explain.program.batch_size, job.block_size)
    for shard in job.shards:
        examples = probe(shard, job.source, job.inputs, storage, count)
        if len(examples):
            break
    begun = time.perf_counter()
    key = BlockKey(shard, 0, 0, len(examples), last=False)
    explained = prepared.explainer.explain(Block(key, examples))
    data = encode_block(explained, job.fingerprint)
    seconds = time.perf_counter() - begun
    if not explained.examples:
        return None
    table = explained.table
    means = {
        name: sum(values) / len(values)
        for name in ("score", *job.explain.map_format.statistic_names)
        if (values := [value for value in table[name].to_pylist() if value is not None])
    }
    return _Measurement(
        examples_per_second=explained.examples / seconds,
        bytes_an_example=len(data) / explained.examples,
        means=means,
    )
