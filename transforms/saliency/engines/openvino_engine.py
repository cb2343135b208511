"""The openvino engine: the gradient as an inference graph, compiled by OpenVINO for the CPU.

A batch is computed in parts, as large as caches like them, by as many streams as there are threads:
one thread a part, so nothing waits for the slowest thread of each operation, and the bits of a map
depend neither on the batch nor on the number of threads.

Each stream is a compilation of its own. OpenVINO's own streams (NUM_STREAMS above 1) share a cache
of weights, which in 2026.4 mixed up weights that its compiler had made: of 28 compilations of one
network's gradient 15 were wrong. Single streams, which have no such cache, were right in all of 59.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.process.cache_folder import cache_folder
from transforms.saliency.attribution import Attribution, AttributionFunction, beside_name
from transforms.saliency.engines.compiled_models import CompiledModel, CompiledModels
from transforms.saliency.engines.engine import (
    CompiledAttribution,
    EngineSpec,
    EngineUnavailableError,
    Inputs,
)
from transforms.saliency.engines.rewriting.freezing import (
    NotFreezableError,
    inference_graph,
    without_calls,
)
from transforms.saliency.engines.rewriting.graph_copy import NotCopyableError, Rewrite
from transforms.saliency.engines.rewriting.inference_ops import INFERENCE_REWRITES
from transforms.saliency.engines.rewriting.mixed_precision import (
    BACKWARD_PRODUCTS,
    DEPTHWISE,
    mixed_rewrites,
)

if TYPE_CHECKING:
    import tensorflow as tf

_PART_VALUES = 2 * 224 * 224 * 3
"""About how many input values a part holds: two images of ImageNet's size, which share the reading
of weights and do not leave the caches yet, were fastest: 6 to 9 % faster than one with MobileNetV2
and EfficientNet-Lite0, 2 % slower with ResNet50."""


class OpenVinoEngine:
    """Runs on CPUs, in float32 or mixed precision."""

    def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
        """Traces, and compiles where an earlier process has not done so; see `Engine`."""
        try:
            import openvino
        except ImportError as error:
            raise EngineUnavailableError(
                "OpenVINO is not installed (pip install 'saliency-atlas[openvino]')"
            ) from error
        if spec.precision not in ("float32", "mixed"):
            raise EngineUnavailableError(
                f"it computes in float32 or mixed precision, not {spec.precision}"
            )
        threads = spec.threads or os.cpu_count() or 1
        part = part_size(function, threads)
        streams = min(threads, function.batch_size // part)
        properties = {
            "INFERENCE_PRECISION_HINT": "f32",  # By itself it takes bfloat16 for the forward pass.
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # Several workers would share the same cores.
            "INFERENCE_NUM_THREADS": threads // streams,
        }
        traced = function.trace(part)
        kept = CompiledModels(cache_folder())
        key = kept.key(traced, (openvino.get_version(), spec.precision, properties))
        model = kept.find(key)
        compiled: list[Any] | None = None
        if model is not None:
            try:
                compiled = _imported(model, properties, streams)
            except RuntimeError as error:
                kept.distrust(key, _reason(error))
        if model is None or compiled is None:
            model = _compiled(traced, spec, properties)
            kept.keep(key, model)
            # What is kept is what is run: a later process has the same bits.
            compiled = _imported(model, properties, streams)
        return CompiledAttribution(
            _Runner(compiled, part, model).run,
            step=part if function.separable else None,
            skips_padding=True,
        )


def _compiled(traced: Any, spec: EngineSpec, properties: Mapping[str, Any]) -> CompiledModel:
    """Freezes, rewrites, converts and compiles.

    Raises:
      EngineUnavailableError: One of that cannot be done.
    """
    try:
        function = without_calls(traced)
        graph = inference_graph(function, _rewrites(function, spec))
        core = _core()
        compiled = core.compile_model(_read(core, graph.definition), "CPU", properties)
        return CompiledModel(compiled.export_model().getvalue(), graph.names, graph.constants)
    except (NotFreezableError, NotCopyableError) as error:
        raise EngineUnavailableError(str(error)) from error
    except OSError as error:  # Not of OpenVINO: of a full disk, or one that is only read.
        raise EngineUnavailableError(
            f"its graph cannot be written to a temporary file ({error}): let TMPDIR name a folder "
            "with room for it",
            is_lasting=False,
        ) from error
    except RuntimeError as error:
        raise EngineUnavailableError(_reason(error)) from error


def _imported(model: CompiledModel, properties: Mapping[str, Any], streams: int) -> list[Any]:
    """A compilation for each stream; from what one gave it takes a third of the time."""
    content = bytes(model.content)
    return [_core().import_model(content, "CPU", properties) for _ in range(streams)]


def _rewrites(function: Any, spec: EngineSpec) -> Mapping[str, Rewrite]:
    if spec.precision == "float32":
        return INFERENCE_REWRITES
    return mixed_rewrites(function, (*BACKWARD_PRODUCTS, DEPTHWISE), INFERENCE_REWRITES)


def part_size(function: AttributionFunction, threads: int) -> int:
    """Examples computed at once: a divisor of the batch size.

    >>> part_size(AttributionFunction(None, (64, 64, 3), 64), threads=2)
    16
    """
    size = function.batch_size
    if not function.separable:
        return size
    most = min(_PART_VALUES // int(np.prod(function.shape)), size // threads)
    return max(part for part in range(1, size + 1) if size % part == 0 and part <= max(most, 1))


class _Runner:
    """Runs batches, part by part: who is done takes the next part, of whichever batch it is."""

    def __init__(self, streams: Sequence[Any], part: int, model: CompiledModel) -> None:
        self._part = part
        self._constants = model.constants
        self._names = model.names
        requests = iter([stream.create_infer_request() for stream in streams])
        # A thread keeps its request, whose weights and activations are in its core's caches. Its
        # initializer does not know the runner, which the thread would keep alive otherwise.
        of_thread = self._of_thread = threading.local()
        self._pool = ThreadPoolExecutor(
            len(streams),
            thread_name_prefix="openvino",
            initializer=lambda: setattr(of_thread, "request", next(requests)),
        )
        # Labels are no input of a gradient that does not depend on them.
        self._inputs = {name for port in streams[0].inputs for name in port.names}
        self._outputs = {
            name: streams[0].output(f"{name}:0")
            for name in model.names
            if name not in model.constants
        }
        # Asked for here, by one thread: OpenVINO's bindings look NumPy up at the first question,
        # and two threads that ask it at once wait for each other for ever (seen with 2026.4).
        self._dtypes = {name: port.element_type.to_dtype() for name, port in self._outputs.items()}

    def run(
        self, inputs: Inputs, labels: npt.NDArray[np.int32], *beside: npt.NDArray[Any]
    ) -> Attribution:
        """Computes a batch."""
        pixels: npt.NDArray[Any] = np.asarray(inputs)  # a method's tensors are not copied
        count = len(pixels)
        results = {
            name: np.concatenate([value] * (count // self._part))
            for name, value in self._constants.items()
        }
        for name, port in self._outputs.items():
            results[name] = np.empty((count, *port.shape[1:]), self._dtypes[name])

        def compute(start: int) -> None:
            rows = slice(start, start + self._part)
            given = {"inputs:0": pixels[rows], "labels:0": labels[rows]}
            given |= {f"{beside_name(n)}:0": values[rows] for n, values in enumerate(beside)}
            request = self._of_thread.request
            # Into its own memory, where bytes become float32; given to `infer`, they would be
            # copied to memory that is new each time, and so would the results be.
            for name in self._inputs & given.keys():
                request.get_tensor(name).data[...] = given[name]
            request.infer(share_outputs=True)
            for name in self._outputs:
                results[name][rows] = request.get_tensor(f"{name}:0").data

        list(self._pool.map(compute, range(0, count, self._part)))
        return Attribution(*(results[name] for name in self._names))


@functools.cache
def _core() -> Any:
    """OpenVINO's core of this process, kept for ever.

    A core gives the thread that makes it a stack for signals, and frees it when it goes. Where it
    goes in another thread, the first one keeps the address, and the next signal (Ctrl-C, SIGTERM)
    ends the process by a segmentation fault (seen with 2026.4).
    """
    import openvino

    return openvino.Core()


def _read(core: Any, graph: tf.compat.v1.GraphDef) -> Any:
    """OpenVINO's model of a graph.

    Its reader is used as it is, not the converter around it, which has telemetry.
    """
    with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
        path = os.path.join(folder, "gradient.pb")
        with open(path, "wb") as file:
            file.write(graph.SerializeToString())
        return core.read_model(path)


def _reason(error: RuntimeError) -> str:
    """What OpenVINO's report says; the names of operations it does not know are in it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    summary = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return f"OpenVINO: {'; '.join(summary or lines[-1:])}"


ENGINE = OpenVinoEngine()
