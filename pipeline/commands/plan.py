"""What a run would do, and what it would take, from one block really explained."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipeline.commands.drawing.examples import draw_example
from pipeline.commands.drawing.sheet import contact_sheet
from pipeline.config.keys import Config
from pipeline.run.begin import check_output
from pipeline.run.first_look.look import FirstLook
from pipeline.run.job import Job, Prepared, prepare
from pipeline.run.progress import Announce, unheard
from transforms.codec import decode
from transforms.elements import Block, Examples
from transforms.errors import ConfigurationError
from transforms.formats.reader import read_blocks
from transforms.process import memory
from transforms.storage import Storage
from transforms.store.block_file import encode_block
from transforms.store.map_format import map_codes

_WARM_BATCHES = 2
_DRAWN = 16  # maps on a contact sheet
_CAPTION_LETTERS = 20  # of an id, its last ones
_WARM_CALLS = 2  # of a method's
_TIMED_CALLS = 9  # of a method's, which tell how long the others take
_LONGEST = 10.0  # seconds for the measured block: it is cut short where explaining is slow
_GRAPH_SECONDS = 0.5  # Beam's, to build and run the graph beside its blocks
_BLOCKS_HELD = 3  # beside the one being explained: the next, explained and read, the last, written


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked job and its estimated cost.

    Attributes:
      atlas: Where the atlas will be.
      shards: How many input files.
      input_bytes: Their size.
      examples_estimated: How many examples are to be explained.
      drawn: The sample that they are, in words; None where no sample is asked for.
      model: What it is, as in the manifest.
      batch_size: Examples in one call of the model.
      calls: Calls of the compiled function per example.
      threads: Intra-op threads.
      examples_per_second: Explained by this machine in one process; None where no example could be.
      seconds_estimated: For all of them in one process, from starting to the manifest.
      map_bytes_estimated: Size of the maps.
      memory_bytes_estimated: Peak of one process.
      picture: The contact sheet that was written; None where none was asked for.
      first_look: What the model gets and makes of the first examples; None where there are none.
      sample: Means over the examples that were tried, by column.
      certificate: What the maps say about the model; None where it was not tried.
      warnings: What no check refuses but a user should know.
    """

    atlas: str
    shards: int
    input_bytes: int
    examples_estimated: int
    drawn: str | None
    model: dict[str, Any]
    batch_size: int
    calls: int
    threads: int
    examples_per_second: float | None
    seconds_estimated: float | None
    map_bytes_estimated: int | None
    memory_bytes_estimated: int | None
    picture: str | None
    first_look: FirstLook | None
    sample: dict[str, float]
    certificate: dict[str, Any] | None
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        look = None if self.first_look is None else self.first_look.as_dict()
        return dataclasses.asdict(self) | {"first_look": look, "warnings": list(self.warnings)}


def plan(
    config: Config,
    storage: Storage,
    beam_options: Sequence[str] = (),
    preset: str | None = None,
    *,
    picture: str | None = None,
    samples: int | None = None,
    announce: Announce = unheard,
) -> Plan:
    """Checks a configuration as `run` would, and estimates. Writes nothing but a picture.

    Args:
      config: The configuration.
      storage: Where inputs, model and atlas are.
      beam_options: As `run` is to be given them.
      preset: The same.
      picture: A PNG to write, with the first inputs as the model sees them and their maps; None
        for none.
      samples: How many examples to try on what the maps say about the model, where the
        configuration does not say so; None tries it only where that asks for it.
      announce: Is told which step begins.

    Raises:
      ConfigurationError: What `run` would refuse.
      RunError: The output path cannot be written at present.
    """
    from pipeline.runners.options import options_of_run, processes_here

    options = options_of_run(config, beam_options, preset, storage)
    check_output(storage.absolute(config.output.path))
    # An existing atlas is no reason not to plan: `run` says what may be done with it.
    begun = time.perf_counter()
    prepared = prepare(
        config,
        storage,
        "overwrite",
        processes=processes_here(options),
        certified_on=config.certified_on or samples,
        announce=announce,
    )
    start_up = time.perf_counter() - begun + _GRAPH_SECONDS
    if picture is not None:
        _draw(prepared, picture)
    announce("explaining a block, to estimate")
    measured = _measure(prepared, storage) if prepared.examples else None
    return _plan(prepared, measured, start_up, picture)


def _plan(
    prepared: Prepared, measured: Measurement | None, start_up: float, picture: str | None
) -> Plan:
    job, program = prepared.job, prepared.job.explain.program
    examples = prepared.examples_estimated
    estimate = None if measured is None else predict(measured, examples, start_up)
    return Plan(
        atlas=job.atlas,
        shards=len(job.shards),
        input_bytes=sum(shard.size for shard in job.shards),
        examples_estimated=examples,
        drawn=job.drawn,
        model=prepared.model.describe(),
        batch_size=program.batch_size,
        calls=program.method.calls,
        threads=job.publication.manifest.threads,
        examples_per_second=None if estimate is None else estimate.examples_per_second,
        seconds_estimated=None if estimate is None else estimate.seconds,
        map_bytes_estimated=None if estimate is None else estimate.map_bytes,
        memory_bytes_estimated=None if estimate is None else estimate.memory_bytes,
        picture=picture,
        first_look=None if prepared.trial is None else prepared.trial.look,
        sample={} if measured is None else dict(measured.means),
        certificate=job.publication.manifest.certificate,
        warnings=prepared.warnings,
    )


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One block, or the beginning of one, measured.

    Attributes:
      records: How many records it spans.
      block_records: How many a block of the run spans.
      explained: How many of them are examples that could be explained.
      seconds: To read, explain and encode it.
      input_bytes: Of its examples, still encoded.
      table_bytes: Of its maps table in memory.
      file_bytes: Of its file.
      peak_bytes: Of this process, after it.
      means: Of the table's columns.
    """

    records: int
    block_records: int
    explained: int
    seconds: float
    input_bytes: int
    table_bytes: int
    file_bytes: int
    peak_bytes: int
    means: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run will take in one process on this machine.

    Attributes:
      examples_per_second: Once it has started.
      seconds: In all.
      map_bytes: Size of the maps folder.
      memory_bytes: Peak of the process.
    """

    examples_per_second: float
    seconds: float
    map_bytes: int
    memory_bytes: int


def predict(measured: Measurement, examples: int, start_up: float) -> Estimate:
    """Extrapolates from a block to a run.

    Args:
      measured: The block.
      examples: Records of the whole run.
      start_up: Seconds before the first block and after the last.
    """
    bytes_held = measured.input_bytes + measured.table_bytes + measured.file_bytes
    # The process has held what was measured; to come are the rest of the block, and its neighbours
    # as far as the run has any.
    blocks = min(1 + _BLOCKS_HELD, -(-examples // measured.block_records))
    growth = blocks * measured.block_records / measured.records - 1
    return Estimate(
        examples_per_second=measured.explained / measured.seconds,
        seconds=start_up + examples * measured.seconds / measured.records,
        map_bytes=round(examples * measured.file_bytes / measured.records),
        memory_bytes=round(measured.peak_bytes + bytes_held * max(0.0, growth)),
    )


def _measure(prepared: Prepared, storage: Storage) -> Measurement | None:
    """Reads, explains and encodes one block; the program has been compiled by `prepare`."""
    job = prepared.job
    calls = job.explain.program.method.calls
    timed = min(calls, _TIMED_CALLS)
    warm = _first_block(job, storage, _WARM_BATCHES * job.explain.program.batch_size)
    warm_up = prepared.explainer.shortened(min(calls, _WARM_CALLS)).explain
    begun = time.perf_counter()
    warm_up(warm)
    seconds_a_record = (time.perf_counter() - begun) / warm.key.records
    expected = seconds_a_record * timed / min(calls, _WARM_CALLS)
    records = max(warm.key.records, min(job.block_size, round(_LONGEST / expected)))
    begun = time.perf_counter()
    block = _first_block(job, storage, records)
    explained = prepared.explainer.shortened(timed).explain(block)
    data = encode_block(explained, job.fingerprint)
    seconds = time.perf_counter() - begun
    if not explained.examples:
        return None
    if calls > timed:
        # What is done once an example has been done once; the calls that are left are to come.
        begun = time.perf_counter()
        prepared.explainer.shortened(1).explain(block)
        alone = time.perf_counter() - begun
        seconds += (calls - timed) * max(0.0, seconds - alone) / (timed - 1)
    table = explained.table
    return Measurement(
        records=block.key.records,
        block_records=block.key.records if block.key.last else job.block_size,
        explained=explained.examples,
        seconds=seconds,
        input_bytes=_input_bytes(block.examples),
        table_bytes=table.nbytes,
        file_bytes=len(data),
        peak_bytes=memory.peak_bytes(),
        means={
            name: sum(values) / len(values)
            for name in ("score", *job.explain.map_format.statistic_names)
            if (values := [value for value in table[name].to_pylist() if value is not None])
        },
    )


def _first_block(job: Job, storage: Storage, records: int) -> Block:
    """The first records of the first shard that has an example, whether or not it is sampled."""
    source = dataclasses.replace(job.source, sample=None)
    for shard in job.shards:
        block = next(read_blocks(shard, source, job.inputs, records, storage))
        if len(block.examples):
            break
    return block


def _input_bytes(examples: Examples) -> int:
    inputs = examples.inputs
    return inputs.nbytes if isinstance(inputs, np.ndarray) else sum(map(len, inputs))


def _draw(prepared: Prepared, picture: str) -> None:
    """Writes the first examples that were explained as a contact sheet.

    Raises:
      ConfigurationError: There are none, or the file cannot be written.
    """
    trial = prepared.trial
    if trial is None or not trial.explained.examples:
        raise ConfigurationError(
            f"--picture {picture}: none of the first examples can be explained: "
            f"{'; '.join(prepared.warnings)}"
        )
    table = trial.explained.table.slice(0, _DRAWN)
    maps = decode(map_codes(table), table["map_scale"].to_numpy())
    inputs = dict(zip(trial.records.tolist(), trial.inputs, strict=True))
    is_image, names = prepared.job.inputs.kind == "image", prepared.job.explain.features
    columns = ("record", "example_id", "label", "target", "predicted")
    tiles = [
        (draw_example(values, inputs[row["record"]], is_image=is_image, names=names), _caption(row))
        for values, row in zip(maps, table.select(columns).to_pylist(), strict=True)
    ]
    try:
        Image.fromarray(contact_sheet(tiles)).save(picture, format="PNG")
    except OSError as error:
        raise ConfigurationError(f"--picture {picture} cannot be written: {error}") from error


def _caption(row: Mapping[str, Any]) -> str:
    """The example, and which class is whose."""
    classes = [
        f"{name} {row[name]}" for name in ("label", "target", "predicted") if row[name] is not None
    ]
    return f"{row['example_id'][-_CAPTION_LETTERS:]}: {', '.join(classes)}"
