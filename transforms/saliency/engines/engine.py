"""What an engine is: it compiles what explains a model, for one batch shape, and runs it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
import time
from collections.abc import Callable
from typing import Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.saliency.attribution import Attribution, AttributionFunction

Precision = Literal["float32", "mixed", "bfloat16", "float16"]
"""Of convolutions and matrix products; `mixed`: bfloat16 for those of the backward pass alone."""

WantedPrecision = Precision | Literal["auto"]

AUTO = "auto"
"""Stands for the fastest engine that agrees with the reference."""

REFERENCE = "tensorflow"
"""The engine that is always there, whose maps others' must match."""

_SUFFIX = "_engine"


@dataclasses.dataclass(frozen=True)
class EngineSpec:
    """Who computes gradients, and how.

    Attributes:
      name: The engine's name: `tensorflow`, `openvino`.
      precision: The precision of matrix products and convolutions; engines are never given `auto`,
        which `selection` makes one of the others.
      threads: CPU threads to compute with; None is the engine's own choice.
    """

    name: str = REFERENCE
    precision: WantedPrecision = "float32"
    threads: int | None = None


DEFAULT_ENGINE = EngineSpec()


Inputs = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Bytes are an image's pixels as they are; an engine makes them float32 where it computes."""


Run = Callable[..., Attribution]
"""(inputs (N, *shape), labels (N,), (N, ...) of each other input that is fed) -> tensors or arrays;
N is the batch size. Thread-safe."""


@dataclasses.dataclass(frozen=True)
class CompiledAttribution:
    """A gradient ready to run.

    Attributes:
      run: Computes a batch.
      notes: What was not done as one would expect, and why; for the log and the manifest.
      step: Batches of any multiple of so many examples may be run; None: of `batch_size` alone.
      compile_seconds: What it took; `try_compile` measures it.
      skips_padding: Whether short batches are run short, up to a multiple of `step`. The bits of a
        map must not depend on the batch then.
    """

    run: Run
    notes: tuple[str, ...] = ()
    step: int | None = None
    compile_seconds: float = 0.0
    skips_padding: bool = False

    def takes(self, batch_size: int) -> bool:
        """Whether batches of this size can be run, too, without compiling anew."""
        return self.step is not None and batch_size % self.step == 0

    def size_for(self, count: int, batch_size: int) -> int:
        """How many examples to run for so many, in batches of that size.

        >>> compiled = CompiledAttribution(Attribution, step=2, skips_padding=True)
        >>> compiled.size_for(5, batch_size=8), compiled.size_for(8, batch_size=8)
        (6, 8)
        """
        if self.step is None or not self.skips_padding:
            return batch_size
        return min(batch_size, -(-count // self.step) * self.step)


class EngineUnavailableError(Exception):
    """This engine cannot compute this gradient, here; the message says why.

    Attributes:
      is_lasting: Whether it is so every time; not where a disk is full, which may have room again.
    """

    def __init__(self, message: str, *, is_lasting: bool = True) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


class Engine(Protocol):
    """Compiles gradients. Stateless."""

    def compile(self, function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
        """Compiles a gradient for its batch shape.

        Raises:
          EngineUnavailableError: It is not installed, or cannot compute this gradient.
        """


def engine_names() -> tuple[str, ...]:
    """All engines there are, installed or not: the modules `NAME_engine` of this package."""
    package = __name__.rpartition(".")[0]
    path = importlib.util.find_spec(package)
    assert path is not None  # noqa: S101 - this module is in it
    names = (module.name for module in pkgutil.iter_modules(path.submodule_search_locations))
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def find_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
      ConfigurationError: There is none.
    """
    if name not in engine_names():
        raise ConfigurationError(
            f"explain.engine {name!r} is unknown; choose auto or one of {', '.join(engine_names())}"
        )
    package = __name__.rpartition(".")[0]
    return cast(Engine, importlib.import_module(f"{package}.{name}{_SUFFIX}").ENGINE)


def unusable(spec: EngineSpec, error: EngineUnavailableError) -> ConfigurationError:
    """What to tell who asked for an engine that is unavailable."""
    other = "float32" if spec.name == REFERENCE else REFERENCE
    return ConfigurationError(
        f"explain.engine {spec.name!r} cannot be used: {error}; choose {other}"
    )


def try_compile(function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
    """Compiles with the engine of a spec, where that can be done.

    Raises:
      EngineUnavailableError: It cannot.
    """
    begun = time.perf_counter()
    compiled = find_engine(spec.name).compile(function, spec)
    return dataclasses.replace(compiled, compile_seconds=time.perf_counter() - begun)


def compile_attribution(function: AttributionFunction, spec: EngineSpec) -> CompiledAttribution:
    """Compiles with the engine that is asked for, and no other.

    Raises:
      ConfigurationError: It cannot be done.
    """
    try:
        return try_compile(function, spec)
    except EngineUnavailableError as error:
        raise unusable(spec, error) from error
