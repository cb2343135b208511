"""Explains one block: decoded, explained in mini-batches, assembled into the maps table.

Everything per pixel happens in `program`, on the device. Mini-batches are consecutive examples of
the block and are padded, not re-formed, around examples that fail: which examples share a
mini-batch depends on the data alone, and so do the bytes of the result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.elements import NO_LABEL, Block, Examples, ExplainedBlock, Failure
from transforms.errors import DataFault, RunError
from transforms.formats.images import InputDecoder, reason_of
from transforms.formats.source import InputSpec
from transforms.mapstore import MapFormat
from transforms.models import LoadedModel, configure_threads, load_model
from transforms.saliency.isolation import Arrays, Errors, IsolatingRunner
from transforms.saliency.program import IMAGE_RANK, Program, ProgramSpec, Results
from transforms.statistics.maps import MapKind, MapStatistics, box_mask, gini_from_codes
from transforms.storage import Storage

_MAP_KINDS: dict[int, MapKind] = {1: "tabular", 2: "time_series", IMAGE_RANK: "image"}


@dataclasses.dataclass(frozen=True)
class ExplainSpec:
    """What an explanation is: all that a worker needs to make one.

    Attributes:
      model_uri: Where the model is.
      model_digest: SHA-256 of its content.
      output_layer: Name or index of the layer explained; None for the last.
      allow_unsafe: Whether the model may hold code (Lambda layers).
      program: What is computed.
      threads: Intra-op threads of TensorFlow; None leaves its default.
      sketch: Rows and columns of sketches.
      with_boxes: Whether examples have boxes.
    """

    model_uri: str
    model_digest: str
    output_layer: str | int | None
    allow_unsafe: bool
    program: ProgramSpec
    threads: int | None
    sketch: tuple[int, int]
    with_boxes: bool

    @property
    def identity(self) -> str:
        """Equal for equal explanations: the tag under which a process shares its explainer."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def statistics(self) -> MapStatistics:
        """The statistics of single maps."""
        return MapStatistics(
            _positions(self.program.inputs),
            self.sketch,
            kind=_MAP_KINDS[len(self.program.inputs.shape)],
            with_boxes=self.with_boxes,
        )

    @property
    def map_format(self) -> MapFormat:
        """What is stored."""
        inputs = self.program.inputs
        return MapFormat(
            map_shape=inputs.shape if self.program.reducer == "none" else _positions(inputs),
            codec=self.program.codec,
            sketch_shape=self.statistics.sketch_shape,
            with_boxes=self.with_boxes,
        )


def load_explainer(spec: ExplainSpec, storage: Storage) -> BlockExplainer:
    """Loads the model and compiles its explanation."""
    configure_threads(spec.threads)
    model = load_model(spec.model_uri, storage, spec.output_layer, spec.allow_unsafe)
    return BlockExplainer(model, spec)


class BlockExplainer:
    """Explains blocks with one model. Safe to share between threads.

    Args:
      model: The loaded model.
      spec: What an explanation is.
    """

    def __init__(self, model: LoadedModel, spec: ExplainSpec) -> None:
        self._outputs = model.outputs
        self._batch_size = spec.program.batch_size
        self._fixed_batch = model.batch
        self._format = spec.map_format
        self._positions = _positions(spec.program.inputs)
        self._decoder = InputDecoder(spec.program.inputs)
        self._compile = lambda size: Program(
            model, dataclasses.replace(spec.program, batch_size=size), spec.statistics
        )
        self._programs = {self._batch_size: self._compile(self._batch_size)}
        self._runner = IsolatingRunner(self._run, self._batch_size, _model_errors())
        self._compile_lock = threading.Lock()
        self._load_claim = threading.Lock()

    def claim_load(self) -> bool:
        """True for the first caller ever, who counts the load; False for all others."""
        return self._load_claim.acquire(blocking=False)

    def claim_halvings(self) -> int:
        """How often a lack of memory has halved the batch size since the last call."""
        return self._runner.claim_halvings()

    def explain(self, block: Block) -> ExplainedBlock:
        """Explains a block's examples; what the data makes impossible is a failure."""
        started = time.time()
        failures = list(block.failures)
        tables = []
        explained = 0
        for start in range(0, len(block.examples), self._batch_size):
            batch = _slice(block.examples, start, start + self._batch_size)
            results, faults = self._explain_batch(batch)
            kept = [row for row, fault in enumerate(faults) if fault is None]
            explained += len(kept)
            failures += _failures(block, batch, faults)
            if results is not None and kept:
                tables.append(self._table(block, batch, results, kept))
        return ExplainedBlock(
            key=block.key,
            table=pa.concat_tables([self._format.schema.empty_table(), *tables]).combine_chunks(),
            examples=explained,
            failures=tuple(sorted(failures, key=lambda f: (f.record is None, f.record))),
            started=started,
            input_digest=block.examples.digest(),
        )

    def _explain_batch(self, batch: Examples) -> tuple[Results | None, list[DataFault | None]]:
        inputs, faults = self._decoder.decode(batch.inputs)
        for row, label in enumerate(batch.labels):
            if faults[row] is None and label != NO_LABEL and label >= self._outputs:
                faults[row] = DataFault(
                    "explain",
                    "LabelOutOfRange",
                    f"label {label} is not one of the model's {self._outputs} classes",
                )
        arrays: Arrays = (inputs, batch.labels)
        if batch.boxes is not None:
            cropped = [self._decoder.crop_boxes(boxes) for boxes in batch.boxes]
            arrays = (*arrays, box_mask(cropped, self._positions))
        results, model_faults = self._runner.run(arrays)
        faults = [first or second for first, second in zip(faults, model_faults, strict=True)]
        if results is None:
            return None, faults
        for row, finite in enumerate(np.all(results["finite"], axis=1).tolist()):
            if faults[row] is None and not finite:
                faults[row] = DataFault(
                    "explain",
                    "NonFiniteGradient",
                    "the gradient or the score is not finite for this input",
                )
        return results, faults

    def _run(self, size: int, arrays: Arrays) -> Results:
        return self._program(size).run(*arrays)

    def _program(self, size: int) -> Program:
        """The program for mini-batches of a size, made when it is first needed."""
        with self._compile_lock:
            if size not in self._programs:
                if self._fixed_batch is not None:
                    raise RunError(
                        f"a mini-batch of {self._fixed_batch} does not fit into memory, and the "
                        "model takes no smaller one: give the run more memory, or a model "
                        "without a fixed batch size"
                    )
                self._programs[size] = self._compile(size)
            return self._programs[size]

    def _table(
        self, block: Block, batch: Examples, results: Results, kept: Sequence[int]
    ) -> pa.Table:
        """The rows of a mini-batch, examples in order, each with its targets in order."""
        rows = np.asarray(kept)
        targets = results["target"].shape[1]

        def by_map(name: str) -> npt.NDArray[np.generic]:
            values = results[name][rows]
            by_row: npt.NDArray[np.generic] = values.reshape((-1, *values.shape[2:]))
            return by_row

        def by_example(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
            return np.repeat(values[rows], targets, axis=0)

        labels = by_example(batch.labels)
        statistics = {
            name: _nullable(by_map(name)) for name in self._format.statistic_names if name != "gini"
        }
        columns = {
            "example_id": pa.array([batch.ids[row] for row in kept for _ in range(targets)]),
            "shard": pa.array([block.key.shard.name] * len(labels), pa.string()),
            "record": by_example(batch.records),
            "label": pa.array(labels, pa.int32(), mask=labels == NO_LABEL),
            "target": by_map("target"),
            "predicted": by_example(results["predicted"]),
            "score": by_map("score"),
            "predicted_score": by_example(results["predicted_score"]),
            "map": by_map("map"),
            "map_scale": by_map("map_scale"),
            "sketch": by_map("sketch"),
            "gini": _nullable(gini_from_codes(by_map("level").astype(np.uint8, copy=False))),
            **statistics,
        }
        if self._format.with_boxes:
            hits = by_map("pointing_hit")
            columns["pointing_hit"] = pa.array(hits == 1, pa.bool_(), mask=np.isnan(hits))
        return self._format.table(columns)


def _model_errors() -> Errors:
    """What TensorFlow raises when a model cannot take an input, or a device holds no more.

    An exception in Python that a model calls back (tf.py_function) comes as one of these too.
    """
    import tensorflow as tf

    return Errors(
        of_data=(
            tf.errors.InvalidArgumentError,
            tf.errors.OutOfRangeError,
            tf.errors.UnknownError,
            tf.errors.DataLossError,
        ),
        of_memory=(tf.errors.ResourceExhaustedError,),
        reason=reason_of,
    )


def _positions(inputs: InputSpec) -> tuple[int, ...]:
    """Shape of a map over positions: an image's without its channels."""
    return inputs.shape[:2] if len(inputs.shape) == IMAGE_RANK else inputs.shape


def _slice(examples: Examples, start: int, stop: int) -> Examples:
    boxes = examples.boxes
    return Examples(
        records=examples.records[start:stop],
        ids=examples.ids[start:stop],
        inputs=examples.inputs[start:stop],
        labels=examples.labels[start:stop],
        boxes=None if boxes is None else boxes[start:stop],
    )


def _failures(
    block: Block, batch: Examples, faults: Sequence[DataFault | None]
) -> Iterator[Failure]:
    for row, fault in enumerate(faults):
        if fault is not None:
            yield Failure(
                shard=block.key.shard.name,
                record=int(batch.records[row]),
                example_id=batch.ids[row],
                stage=fault.stage,
                error=fault.error,
                message=str(fault),
            )


def _nullable(values: npt.NDArray[np.generic]) -> pa.Array:
    return pa.array(values, pa.float32(), from_pandas=True)  # NaN becomes null
