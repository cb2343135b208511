"""Which engine a run uses."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.models.devices import is_machine_busy
from transforms.saliency.attribution import Attribution, AttributionFunction, Beside
from transforms.saliency.engines.agreement import Agreement, measure_agreement
from transforms.saliency.engines.engine import (
    AUTO,
    REFERENCE,
    CompiledAttribution,
    EngineSpec,
    EngineUnavailableError,
    engine_names,
    try_compile,
    unusable,
)
from transforms.saliency.engines.remembered import ChoiceMemory, RememberedChoice

if TYPE_CHECKING:
    import tensorflow as tf

MakeMaps = Callable[[Attribution], "tf.Tensor"]
"""Maps (M, ...) >= 0 of what engines compute, in the order of the examples."""

_ROUNDS = 5  # At most.
_CLEAR_ROUNDS = 2  # They are enough where each lies by so much on one side of the limit:
_CLEARLY = 0.8
_GAIN_THAT_COUNTS = 0.95  # Of the time: less is within what timing can tell.
_GAIN_OF_MIXED = 1 / 1.1  # Of the time: what other bits than float32's have to be worth.


@dataclasses.dataclass(frozen=True)
class EngineChoice:
    """An engine, compiled, and why it is used.

    Attributes:
      spec: The engine.
      compiled: What it compiled.
      agreement: How well its maps agree with the reference's in float32; None for the reference
        itself, or without examples.
      notes: What a user should know: engines that were not used and why, the speeds measured.
    """

    spec: EngineSpec
    compiled: CompiledAttribution
    agreement: Agreement | None
    notes: tuple[str, ...]


def choose_engine(  # noqa: PLR0917 - what is compiled, and what it is tried on
    wanted: EngineSpec,
    function: AttributionFunction,
    make_maps: MakeMaps,
    inputs: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    beside: Beside = (),
    memory: ChoiceMemory | None = None,
) -> EngineChoice:
    """Compiles the engine that is wanted, or for `auto` the fastest that agrees.

    Args:
      wanted: Its name and its precision may be `auto`.
      function: What engines compile.
      make_maps: Makes maps of one call's results; they are what must agree.
      inputs: (n, *shape) float32, the first examples; at most a batch, maybe none.
      labels: (n, *label_shape) int32.
      beside: What feeds other inputs, each (n, ...).
      memory: Of what the same comparison came to earlier; None compares.

    Raises:
      ConfigurationError: An engine that is asked for by name cannot be used, or computes maps in
        float32 that are not the reference's.
    """
    comparison = _Comparison(function, make_maps, wanted.threads, inputs, labels, beside)
    named = dataclasses.replace(
        wanted,
        name=REFERENCE if wanted.name == AUTO else wanted.name,
        precision="float32" if wanted.precision == AUTO else wanted.precision,
    )
    compares = AUTO in (wanted.name, wanted.precision) or named != comparison.exact
    if memory is None or not compares or not len(inputs):
        return _compared(comparison, wanted, named)
    choice = _remembered(comparison, memory)
    if choice is None:
        choice = _compared(comparison, wanted, named)
        if comparison.is_conclusive and not (comparison.has_timed and is_machine_busy()):
            kept = RememberedChoice(choice.spec, choice.agreement, choice.notes, time.time())
            memory.keep(kept)
    return choice


def _remembered(comparison: _Comparison, memory: ChoiceMemory) -> EngineChoice | None:
    """The engine of an earlier comparison, compiled; None where there was none."""
    known = memory.recall()
    if known is None:
        return None
    try:
        choice = comparison.choice(known.spec)
    except EngineUnavailableError:  # Comparing again says why.
        return None
    noted = (*known.notes, f"engines were compared on {known.day}, in an earlier run of the same")
    return dataclasses.replace(choice, agreement=known.agreement, notes=noted)


def _compared(comparison: _Comparison, wanted: EngineSpec, named: EngineSpec) -> EngineChoice:
    """The engine `named`, or where `wanted` says `auto` the fastest that agrees."""
    try:
        choice = _with_agreement(comparison, named)
    except EngineUnavailableError as error:
        raise unusable(named, error) from error
    if AUTO not in (wanted.name, wanted.precision):
        return choice
    if not comparison.examples:
        return _noting(choice, "no example to compare engines on")
    names = engine_names() if wanted.name == AUTO else (wanted.name,)
    others = [dataclasses.replace(named, name=name) for name in names if name != named.name]
    best = _fastest(comparison, others, choice, _GAIN_THAT_COUNTS)
    if wanted.precision == AUTO:
        others = [EngineSpec(name, "mixed", wanted.threads) for name in names]
        best = _fastest(comparison, others, best, _GAIN_OF_MIXED)
    return best


def _with_agreement(comparison: _Comparison, spec: EngineSpec) -> EngineChoice:
    """The engine that is asked for; that it differs somewhat is for the user to judge.

    Raises:
      ConfigurationError: It computes other maps.
    """
    choice = comparison.choice(spec)
    if spec == comparison.exact or not comparison.examples:
        return choice
    try:
        agreement = comparison.compare(choice)
    except _IncomparableError as error:
        return _noting(choice, str(error))
    choice = dataclasses.replace(choice, agreement=agreement)
    if agreement.holds:
        return choice
    if spec.precision == "float32" and agreement.is_wrong:
        raise ConfigurationError(
            f"explain.engine {spec.name!r} computes other maps than {REFERENCE} for this model: "
            f"{agreement}; choose {REFERENCE}, or auto"
        )
    return _noting(
        choice, f"{spec.name} in {spec.precision} differs from {REFERENCE} in float32: {agreement}"
    )


def _fastest(
    comparison: _Comparison,
    others: Sequence[EngineSpec],
    best: EngineChoice,
    gain: float,
) -> EngineChoice:
    """The fastest of those that agree, if it takes at most `gain` times as long as `best`."""
    found, shortest, notes = best, gain, []
    for spec in others:
        name = _title(spec)
        try:
            choice = comparison.choice(spec)
            agreement = comparison.compare(choice)
        except (EngineUnavailableError, _IncomparableError) as error:
            notes.append(f"{name} is not used: {error}")
            continue
        holds = agreement.holds_for_mixed if spec.precision == "mixed" else agreement.holds
        if not holds:
            notes.append(f"{name} is not used: it differs from {REFERENCE}, {agreement}")
            continue
        share = comparison.share_of_time(choice, best, shortest)
        notes.append(f"{name} takes {share:.2f} times as long as {_title(best.spec)}; {agreement}")
        if share < shortest:
            found, shortest = dataclasses.replace(choice, agreement=agreement), share
    if found is not best:
        notes = [*best.notes, *notes]
    return _noting(found, *notes)


def _title(spec: EngineSpec) -> str:
    return spec.name if spec.precision == "float32" else f"{spec.name} in {spec.precision}"


def _noting(choice: EngineChoice, *notes: str) -> EngineChoice:
    return dataclasses.replace(choice, notes=(*choice.notes, *notes))


class _IncomparableError(Exception):
    """The first batch does not tell whether engines agree."""


class _Comparison:
    """The first batch, and what the reference makes of it.

    Attributes:
      exact: The reference, in float32.
      examples: How many there are.
      is_conclusive: Whether no engine has failed on the batch, or for want of room on a disk, which
        may not happen again.
      has_timed: Whether engines have been timed.
    """

    def __init__(  # noqa: PLR0917 - the same
        self,
        function: AttributionFunction,
        make_maps: MakeMaps,
        threads: int | None,
        inputs: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int32],
        beside: Beside,
    ) -> None:
        self.function = function
        self.exact = EngineSpec(threads=threads)
        self.examples = len(inputs)
        self.is_conclusive = True
        self.has_timed = False
        self._make_maps = make_maps
        # Not a cache of the class, which would keep all engines' weights as long as the process.
        self._choices: dict[EngineSpec, EngineChoice] = {}
        if self.examples:
            rows = np.arange(function.batch_size) % self.examples
            self._batch = inputs[rows], labels[rows], *(values[rows] for values in beside)

    def choice(self, spec: EngineSpec) -> EngineChoice:
        """An engine, compiled once.

        Raises:
          EngineUnavailableError: It cannot be.
        """
        if spec not in self._choices:
            try:
                compiled = try_compile(self.function, spec)
            except EngineUnavailableError as error:
                self.is_conclusive &= error.is_lasting
                raise
            self._choices[spec] = EngineChoice(spec, compiled, None, compiled.notes)
        return self._choices[spec]

    def compare(self, choice: EngineChoice) -> Agreement:
        """How well an engine's maps agree with those of the reference in float32.

        Raises:
          _IncomparableError: One of them fails on the first batch.
        """
        try:
            return measure_agreement(self._reference_maps, self._maps(choice))
        except Exception as error:  # whatever a model raises on data, or an engine's library
            self.is_conclusive = False
            raise _IncomparableError(f"the first batch cannot be explained: {error}") from error

    def share_of_time(self, choice: EngineChoice, reference: EngineChoice, limit: float) -> float:
        """An engine's time as a share of another's, measured until it is clear against a limit."""
        self.has_timed = True

        def run(each: EngineChoice) -> None:
            np.asarray(each.compiled.run(*self._batch).fields[-1])

        return share_of_time(lambda: run(choice), lambda: run(reference), limit)

    @functools.cached_property
    def _reference_maps(self) -> npt.NDArray[np.float32]:
        return self._maps(self.choice(self.exact))

    def _maps(self, choice: EngineChoice) -> npt.NDArray[np.float32]:
        """The maps of the examples' targets, (examples * targets, values)."""
        # The second call's: what an engine computes of constants may be right in the first alone.
        for _ in range(2):
            attribution = choice.compiled.run(*self._batch)
        fields = (np.asarray(field)[: self.examples] for field in attribution.fields)
        maps = self._make_maps(Attribution(*fields))
        flat: npt.NDArray[np.float32] = np.asarray(maps).reshape(len(maps), -1)
        return flat


def share_of_time(
    first: Callable[[], None],
    second: Callable[[], None],
    limit: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What something takes as a share of what something else takes.

    They take turns, for two rounds where both of them say the same of the limit, for five else.

    Args:
      first: What is measured.
      second: What it is compared with.
      limit: The share that decides.
      clock: Gives seconds.

    Returns:
      The ratio of the medians.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_number in range(1, _ROUNDS + 1):
        for measured, run in zip(seconds, (first, second), strict=True):
            begun = clock()
            run()
            measured.append(clock() - begun)
        shares = [one / other for one, other in zip(*seconds, strict=True)]
        is_clear = max(shares) < _CLEARLY * limit or min(shares) > limit / _CLEARLY
        if round_number >= _CLEAR_ROUNDS and is_clear:
            break
    return statistics.median(seconds[0]) / statistics.median(seconds[1])
