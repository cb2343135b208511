"""Explains one block: decoded, explained in mini-batches, assembled into the maps table.

Everything per pixel happens in `program`, on the device. Mini-batches are consecutive examples of
the block and are padded, not re-formed, around examples that fail: which examples share a
mini-batch depends on the data alone, and so do the bytes of the result.
"""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transforms.elements import NO_LABEL, Block, Examples, ExplainedBlock, Failure
from transforms.errors import DataFault, RunError
from transforms.formats.images.decoding import InputDecoder, reason_of
from transforms.formats.source import InputSpec
from transforms.models.devices import configure_threads, has_gpu, spare_cores
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.process.prefetch import computed_ahead
from transforms.saliency.batching.isolation import Arrays, Errors, IsolatingRunner
from transforms.saliency.batching.timing import BatchTimer
from transforms.saliency.engines.engine import CompiledGradient
from transforms.saliency.program import IMAGE_RANK, Program, ProgramSpec, Results
from transforms.saliency.rows import BlockRows
from transforms.statistics.maps import MapKind, MapStatistics, box_mask
from transforms.storage import Storage
from transforms.store.map_format import MapFormat

# One mini-batch leaves cores (or the GPU) idle in its serial parts, which another one's work fills.
BATCHES_AT_ONCE = 2

_DecodedBatch = tuple[Examples, npt.NDArray[np.float32], list[DataFault | None]]

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

    >>> spec = explain_spec("/models/model.keras", InputSpec("image", (224, 224, 3)))
    >>> spec.map_format.map_shape, spec.map_format.sketch_shape
    ((224, 224), (28, 28))
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
    model = load_model(
        ModelSpec(
            uri=spec.model_uri,
            output_layer=spec.output_layer,
            allow_unsafe=spec.allow_unsafe,
            input_shape=spec.program.inputs.shape,
            digest=spec.model_digest or None,
        ),
        storage,
    )
    return BlockExplainer(model, spec)


class BlockExplainer:
    """Explains blocks with one model. Safe to share between threads.

    Args:
      model: The loaded model.
      spec: What an explanation is.
      gradient: What the spec's engine compiled, if it has been already.

    Attributes:
      spec: What an explanation is.
    """

    def __init__(
        self, model: LoadedModel, spec: ExplainSpec, gradient: CompiledGradient | None = None
    ) -> None:
        self.spec = spec
        self._outputs = model.outputs
        self._batch_size = spec.program.batch_size
        self._fixed_batch = model.batch
        self._format = spec.map_format
        self._positions = _positions(spec.program.inputs)
        self._decoder = InputDecoder(spec.program.inputs, threads=spare_cores())
        self._compile = lambda size: Program(
            model, dataclasses.replace(spec.program, batch_size=size), spec.statistics
        )
        self._base = Program(model, spec.program, spec.statistics, gradient)
        self._programs = {self._batch_size: self._base}
        self._runner = IsolatingRunner(self._run, self._batch_size, _model_errors())
        # Shared by all who explain with this model, however many threads a runner has.
        self._pool = concurrent.futures.ThreadPoolExecutor(BATCHES_AT_ONCE, "explain")
        self._compile_lock = threading.Lock()
        self._load_claim = threading.Lock()

    def claim_load(self) -> bool:
        """True for the first caller ever, who counts the load; False for all others."""
        return self._load_claim.acquire(blocking=False)

    def claim_halvings(self) -> int:
        """How often a lack of memory has halved the batch size since the last call."""
        return self._runner.claim_halvings()

    def resized(self, batch_size: int) -> BlockExplainer:
        """The same explainer with another batch size; what is compiled is shared."""
        program = dataclasses.replace(self.spec.program, batch_size=batch_size)
        twin = copy.copy(self)
        twin.spec = dataclasses.replace(self.spec, program=program)
        twin._batch_size = batch_size
        twin._runner = IsolatingRunner(twin._run, batch_size, _model_errors())
        twin._load_claim = threading.Lock()
        return twin

    def trial(self, examples: Examples) -> BatchTimer:
        """What runs mini-batches of any size, to find the best.

        Args:
          examples: At least one; repeated where the size is larger. Decoded here.
        """
        arrays = self._arrays(examples, self._decoder.decode(examples.inputs)[0])
        errors = _model_errors()

        def run(size: int) -> None:
            rows = np.resize(np.arange(len(examples)), size)
            self._program(size).run(*(array[rows] for array in arrays))

        return BatchTimer(
            run,
            self._base.preparation,
            refusals=(*errors.of_memory, *errors.of_data),
            pool=self._pool,
            at_once=BATCHES_AT_ONCE,
            on_host=not has_gpu(),
        )

    def explain(self, block: Block) -> ExplainedBlock:
        """Explains a block's examples; what the data makes impossible is a failure."""
        started = time.time()
        failures = list(block.failures)
        rows = BlockRows(self._format, block.key.shard.name)
        explained = 0
        decoded = self._decoded(block.examples)
        # One more than are computed at once: it has been decoded by the time that one is finished.
        ahead = BATCHES_AT_ONCE + 1
        for batch, faults, results in computed_ahead(
            self._explain_batch, decoded, self._pool, ahead
        ):
            kept = [row for row, fault in enumerate(faults) if fault is None]
            explained += len(kept)
            failures += _failures(block, batch, faults)
            if results is not None and kept:
                rows.add(batch, results, kept)
        return ExplainedBlock(
            key=block.key,
            table=rows.table(),
            examples=explained,
            failures=tuple(sorted(failures, key=lambda f: (f.record is None, f.record))),
            started=started,
            input_digest=block.examples.digest(),
        )

    def _decoded(self, examples: Examples) -> Iterator[_DecodedBatch]:
        """Mini-batches with their inputs, each decoded while the device has those before it."""
        for start in range(0, len(examples), self._batch_size):
            batch = _slice(examples, start, start + self._batch_size)
            yield (batch, *self._decoder.decode(batch.inputs))

    def _explain_batch(
        self, decoded: _DecodedBatch
    ) -> tuple[Examples, list[DataFault | None], Results | None]:
        """Runs a mini-batch, and adds what the model makes of its examples to their faults."""
        batch, inputs, faults = decoded
        for row, label in enumerate(batch.labels):
            if faults[row] is None and label != NO_LABEL and label >= self._outputs:
                faults[row] = DataFault(
                    "explain",
                    "LabelOutOfRange",
                    f"label {label} is not one of the model's {self._outputs} classes",
                )
        results, model_faults = self._runner.run(self._arrays(batch, inputs))
        faults = [first or second for first, second in zip(faults, model_faults, strict=True)]
        if results is None:
            return batch, faults, None
        for row, finite in enumerate(np.all(results["finite"], axis=1).tolist()):
            if faults[row] is None and not finite:
                faults[row] = DataFault(
                    "explain",
                    "NonFiniteGradient",
                    "the gradient or the score is not finite for this input",
                )
        return batch, faults, results

    def _arrays(self, batch: Examples, inputs: npt.NDArray[np.float32]) -> Arrays:
        if batch.boxes is None:
            return inputs, batch.labels
        cropped = [self._decoder.crop_boxes(boxes) for boxes in batch.boxes]
        return inputs, batch.labels, box_mask(cropped, self._positions)

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
                resized = self._base.resized(size)
                self._programs[size] = resized or self._compile(size)
            return self._programs[size]


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
