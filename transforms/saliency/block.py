"""Explains one block: decoded, explained in mini-batches, assembled into the maps table.

Everything per pixel happens in `program`, on the device. Mini-batches are consecutive examples of
the block and are padded, not re-formed, around examples that fail: which examples share a
mini-batch depends on the data alone, and so do the bytes of the result.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.elements import (
    NO_LABEL,
    Block,
    Examples,
    ExplainedBlock,
    ImageWarning,
)
from transforms.errors import DataFault
from transforms.formats.images.decoding import DecodedInputs, InputDecoder
from transforms.formats.images.properties import input_properties
from transforms.formats.images.thumbnails import ThumbnailEncoder, thumbnail_shape
from transforms.formats.source import IMAGE_RANK
from transforms.models.devices import configure_threads, has_gpu, spare_cores
from transforms.models.loading import LoadedModel, ModelSpec, load_model
from transforms.process.prefetch import computed_ahead
from transforms.saliency.attribution import Arrays, Beside, Results
from transforms.saliency.batching.fed_inputs import FedInputs
from transforms.saliency.batching.isolation import IsolatingRunner, with_copies
from transforms.saliency.batching.model_errors import model_errors
from transforms.saliency.batching.timing import BatchTimer
from transforms.saliency.engines.engine import CompiledAttribution, Inputs
from transforms.saliency.program import BATCHES_AT_ONCE, Programs, ProgramSpec, find_layer_of
from transforms.saliency.rows import BlockRows, RowsOfBatch, failures_of, warnings_of
from transforms.saliency.scores.operators import output_reading
from transforms.statistics.columns import INPUT_SIZES, POSITIVE_SHARE
from transforms.statistics.maps import MapKind, MapStatistics
from transforms.statistics.peak_windows import has_peak_windows
from transforms.statistics.places import PlaceFinder
from transforms.statistics.regions import Region
from transforms.storage import Storage
from transforms.store.map_format import MapFormat

_Thumbnails: TypeAlias = list[bytes] | None
_Properties: TypeAlias = Mapping[str, npt.NDArray[Any]]
_DecodedBatch: TypeAlias = tuple[Examples, DecodedInputs, Arrays, _Thumbnails, _Properties]
_ExplainedBatch: TypeAlias = tuple[_DecodedBatch, list[DataFault | None], Results | None]

_MOST_STATISTICS = 16  # kept in a process

_MAP_KINDS: dict[int, MapKind] = {1: "tabular", 2: "time_series", IMAGE_RANK: "image"}


@dataclasses.dataclass(frozen=True)
class ExplainSpec:
    """What an explanation is: all that a worker needs to make one.

    Attributes:
      model: Which model, and how it is loaded.
      program: What is computed.
      threads: Intra-op threads of TensorFlow; None leaves its default.
      sketch: Rows and columns of sketches.
      with_boxes: Whether examples have boxes.
      with_masks: Whether they have masks.
      regions: Those that the user names, by name.
      with_predictions: Whether the model returns scores of classes; an explainer corrects it.
      thumbnail: Longest side of the thumbnails of images, in pixels; None makes none.
      slices: Features of the examples by which statistics are split.
      features: Names of a table's features, in the order of its numbers; none of other inputs.

    >>> spec = explain_spec("/models/model.keras", InputSpec("image", (224, 224, 3)))
    >>> spec.map_format.map_shape, spec.map_format.sketch_shape
    ((224, 224), (28, 28))
    """

    model: ModelSpec
    program: ProgramSpec
    threads: int | None
    sketch: tuple[int, int]
    with_boxes: bool
    with_predictions: bool = True
    thumbnail: int | None = None
    slices: tuple[str, ...] = ()
    with_masks: bool = False
    regions: tuple[Region, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Equal for equal explanations: the tag under which a process shares its explainer."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def statistics(self) -> MapStatistics:
        """The statistics of single maps."""
        inputs = self.program.inputs
        return _statistics(
            inputs.positions,
            self.sketch,
            kind=_MAP_KINDS[len(inputs.shape)],
            with_boxes=self.with_boxes,
            with_masks=self.with_masks,
            regions=tuple(region.name for region in self.regions),
        )

    @property
    def map_format(self) -> MapFormat:
        """What is stored."""
        program, inputs = self.program, self.program.inputs
        signed = (POSITIVE_SHARE,) if program.form.signed else ()
        return MapFormat(
            map_shape=inputs.decoded_shape if program.reducer == "none" else inputs.positions,
            codec=program.stored_codec,
            sketch_shape=self.statistics.sketch_shape,
            with_boxes=self.with_boxes,
            with_predictions=self.with_predictions,
            thumbnail_shape=None
            if self.thumbnail is None
            else thumbnail_shape(inputs.decoded_shape, self.thumbnail),
            slices=self.slices,
            measures=(*signed, *program.method.columns),
            with_windows=has_peak_windows(inputs.positions),
            with_masks=self.with_masks,
            regions={region.name: region.area_in(inputs) for region in self.regions},
            features=self.features,
            with_properties=inputs.kind == "image",
        )


# The same object for the same arguments: what is compiled of it is kept by what it is.
_statistics = functools.lru_cache(maxsize=_MOST_STATISTICS)(MapStatistics)


def load_explainer(spec: ExplainSpec, storage: Storage) -> BlockExplainer:
    """Loads the model and compiles its explanation."""
    configure_threads(spec.threads)
    return BlockExplainer(load_model(spec.model, storage), spec)


class BlockExplainer:
    """Explains blocks with one model. Safe to share between threads.

    Args:
      model: The loaded model.
      spec: What an explanation is.
      attribution: What the engine of `spec` compiled, where it has done so already.
      programs: The programs of another explainer that differs in its batch size alone, to be
        shared; compiled here where they are not given.
      most_calls: The method's calls after which to stop; None makes all.

    Attributes:
      spec: What an explanation is, as this model makes it.
    """

    def __init__(
        self,
        model: LoadedModel,
        spec: ExplainSpec,
        attribution: CompiledAttribution | None = None,
        *,
        programs: Programs | None = None,
        most_calls: int | None = None,
    ) -> None:
        model = model.read_as(output_reading(spec.program.operator))
        # Only the model tells, so this holds whatever was given.
        spec = dataclasses.replace(spec, program=find_layer_of(model, spec.program))
        self.spec = dataclasses.replace(spec, with_predictions=model.classes is not None)
        self._model = model
        self._batch_size = spec.program.batch_size
        self._most_calls = most_calls
        self._decoder = InputDecoder(spec.program.inputs, threads=spare_cores())
        self._places = PlaceFinder(self._decoder, spec.program.inputs, spec.regions)
        self._fed = FedInputs(model.fed_inputs)
        self._thumbnails: ThumbnailEncoder | None = None
        if spec.thumbnail is not None:
            self._thumbnails = ThumbnailEncoder(spec.program.inputs.decoded_shape, spec.thumbnail)
        # Beside those that explain, which have nothing to wait for but the device.
        self._rows_threads = spare_cores()
        self._rows_pool = ThreadPoolExecutor(self._rows_threads, "rows")
        self._programs = programs or Programs(model, spec.program, spec.statistics, attribution)
        self._runner = IsolatingRunner(self._run, self._batch_size, model_errors())
        self._load_claim = threading.Lock()
        self._explained, self._counting = 0, threading.Lock()

    @property
    def explained_so_far(self) -> int:
        """How many examples it has explained, those of blocks that it is at among them."""
        return self._explained

    def claim_load(self) -> bool:
        """True for the first caller ever, who counts the load; False for all others."""
        return self._load_claim.acquire(blocking=False)

    def claim_halvings(self) -> int:
        """How often a lack of memory has halved the batch size since the last call."""
        return self._runner.claim_halvings()

    def resized(self, batch_size: int) -> BlockExplainer:
        """The same explainer with another batch size; what is compiled is shared."""
        program = dataclasses.replace(self.spec.program, batch_size=batch_size)
        spec = dataclasses.replace(self.spec, program=program)
        return BlockExplainer(
            self._model, spec, programs=self._programs, most_calls=self._most_calls
        )

    def shortened(self, calls: int) -> BlockExplainer:
        """The same explainer, stopping after some of its method's calls: for trials.

        Its maps are those of a method that is not finished. It is itself where there are no more.
        """
        if calls >= self.spec.program.method.calls:
            return self
        return BlockExplainer(self._model, self.spec, programs=self._programs, most_calls=calls)

    def batch_timer(self, examples: Examples) -> BatchTimer:
        """What times mini-batches of any size, to find the best.

        Args:
          examples: At least one; repeated where the size is larger. Decoded here.
        """
        inputs, places = self._decoder.decode(examples.inputs)[0], self._places.find(examples)[0]
        arrays = _arrays(examples, inputs, self._fed.of(examples).arrays, places)
        errors = model_errors()

        def run(size: int) -> None:
            rows = np.resize(np.arange(len(examples)), size)
            self._run(size, tuple(array[rows] for array in arrays))

        return BatchTimer(
            run,
            self._programs.preparation,
            refusals=(*errors.of_memory, *errors.of_data),
            pool=self._programs.pool,
            at_once=BATCHES_AT_ONCE,
            on_host=not has_gpu(),
        )

    def explain(self, block: Block) -> ExplainedBlock:
        """Explains a block's examples; what the data makes impossible is a failure."""
        started = time.time()
        failures = list(block.failures)
        warnings: list[ImageWarning] = []
        stored = self.spec.map_format
        rows = BlockRows(stored, block.key.shard.name)
        explained = 0
        # One more than are computed at once: it has been decoded by the time that one is finished.
        batches = computed_ahead(
            self._explain_batch,
            self._decoded(block.examples, with_properties=stored.with_properties),
            self._programs.pool,
            BATCHES_AT_ONCE + 1,
        )
        for (batch, decoded, *_), faults, made in computed_ahead(
            functools.partial(_make_rows, rows), batches, self._rows_pool, self._rows_threads + 1
        ):
            failures += failures_of(block, batch, faults)
            if made is not None:
                warnings += warnings_of(batch, decoded.warnings, faults)
                explained += faults.count(None)
                with self._counting:
                    self._explained += faults.count(None)
                rows.add(made)
            self._decoder.reuse(decoded.values)
        ordered = tuple(sorted(failures, key=lambda f: (f.record is None, f.record)))
        return ExplainedBlock(
            key=block.key,
            table=rows.table(),
            examples=explained,
            failures=ordered,
            started=started,
            input_digest=block.examples.digest(),
            extent=block.extent(ordered),
            warnings=tuple(warnings),
            left_out=len(block.left_out),
        )

    def _decoded(self, examples: Examples, *, with_properties: bool) -> Iterator[_DecodedBatch]:
        """Mini-batches as arrays, each decoded while the device has those before it.

        So are thumbnails made and properties measured: by the threads that decode, beside those
        that explain.
        """
        for start in range(0, len(examples), self._batch_size):
            batch = examples[start : start + self._batch_size]
            found = self._decoder.decode_batch(batch.inputs)
            places, of_places = self._places.find(batch)
            fed = self._fed.of(batch)
            for row, faults in enumerate(zip(of_places, fed.faults, strict=True)):
                found.faults[row] = found.faults[row] or faults[0] or faults[1]
            thumbnails = None
            if self._thumbnails is not None:
                thumbnails = self._decoder.in_threads(self._thumbnails.encode, found.values)
            arrays = _arrays(batch, found.values, fed.arrays, places)
            properties = _properties_of(found) if with_properties else {}
            yield batch, found, arrays, thumbnails, properties

    def _explain_batch(self, decoded: _DecodedBatch) -> _ExplainedBatch:
        """Runs a mini-batch, and adds what the model makes of its examples to their faults."""
        batch, found, arrays, *_ = decoded
        faults = list(found.faults)
        for row, fault in self._label_faults(batch.labels):
            faults[row] = faults[row] or fault
        good = np.array([fault is None for fault in faults])
        if not good.any():
            return decoded, faults, None
        if not good.all():  # What could not be decoded is zeros, which a model may refuse.
            arrays = with_copies(arrays, good)
        results, model_faults = self._runner.run(arrays)
        faults = [first or second for first, second in zip(faults, model_faults, strict=True)]
        if results is None:
            return decoded, faults, None
        for row, finite in enumerate(np.all(results["finite"], axis=1).tolist()):
            if faults[row] is None and not finite:
                faults[row] = DataFault(
                    "explain",
                    "NonFiniteGradient",
                    "the gradient or the score is not finite for this input",
                )
        return decoded, faults, results

    def _label_faults(self, labels: npt.NDArray[np.int32]) -> Iterator[tuple[int, DataFault]]:
        """Rows whose labels cannot be explained, and why."""
        classes = self._model.explicable
        needs_labels = self.spec.program.target.needs_labels
        if classes is not None and (self._model.classes is not None or needs_labels):
            for row in np.flatnonzero((labels != NO_LABEL) & (labels >= classes)).tolist():
                why = f"label {labels[row]} is not one of the model's {classes} classes"
                yield row, DataFault("explain", "LabelOutOfRange", why)
        if needs_labels:
            for row in np.flatnonzero(labels == NO_LABEL).tolist():
                yield (
                    row,
                    DataFault(
                        "explain",
                        "MissingLabel",
                        "the target is the label, but the example has none; give it one, or choose "
                        "another target",
                    ),
                )

    def _run(self, size: int, arrays: Arrays) -> Results:
        program = self._programs.of_size(size)
        if self._most_calls is None:
            return program.run(*arrays)
        return program.run(*arrays, most_calls=self._most_calls)


def _arrays(batch: Examples, inputs: Inputs, fed: Beside, places: Arrays) -> Arrays:
    """What a program takes of a mini-batch."""
    return inputs, batch.labels, np.array(batch.ids, np.object_), *fed, *places


def _properties_of(found: DecodedInputs) -> _Properties:
    """What is stored of images beside their thumbnails, by column."""
    sizes = dict(zip(INPUT_SIZES, found.sizes.T, strict=True))
    return {**sizes, **input_properties(found.values)}


def _make_rows(
    rows: BlockRows, explained: _ExplainedBatch
) -> tuple[_DecodedBatch, list[DataFault | None], RowsOfBatch | None]:
    """A mini-batch with the rows of those of its examples that have no fault, if there are any."""
    decoded, faults, results = explained
    batch, _, _, thumbnails, properties = decoded
    kept = [row for row, fault in enumerate(faults) if fault is None]
    made = None
    if results is not None and kept:
        made = rows.rows_of(batch, results, kept, thumbnails, properties)
    return decoded, faults, made
