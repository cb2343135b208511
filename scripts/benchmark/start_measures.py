"""From a command to its first gradient, in a process of its own: what each step takes.

    python -m benchmark.start_measures run CONFIG         # prints figures as JSON
    python -m benchmark.start_measures import CONFIG      # TensorFlow alone, to compare with

The run ends with its first mini-batch explained. CPU time counts from the interpreter's start.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from unittest import mock

Figures = dict[str, Any]

LAST_STEP = "explaining the first examples"


class _FirstGradientError(BaseException):
    """Ends the run; no one of its `except`s catches it."""


class Steps:
    """When each step of a start begins.

    Args:
      begun: When the command was given, in seconds since 1970.
    """

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._names = ["starting Python"]
        self._cpu = [0.0]

    def begin(self, name: str) -> None:
        """Ends one step and begins another."""
        self._names.append(name)
        self._cpu.append(time.process_time())

    def figures(self) -> Figures:
        """CPU time by step, in seconds; a step that is begun twice counts both."""
        ends = [*self._cpu[1:], time.process_time()]
        by_step: dict[str, float] = {}
        for name, begun, ended in zip(self._names, self._cpu, ends, strict=True):
            by_step[name] = by_step.get(name, 0.0) + ended - begun
        return {
            "cpu_seconds": ends[-1],
            "wall_seconds": time.time() - self._begun,
            "steps": by_step,
        }


@contextlib.contextmanager
def _watched(steps: Steps) -> Iterator[None]:
    """Has a run's progress tell the steps, and ends it with its first mini-batch."""
    from pipeline.run.progress import Progress

    starting, announce = Progress.starting, Progress.announce
    with contextlib.ExitStack() as patches:

        def told(progress: Progress, step: str) -> None:
            steps.begin(step)
            if step == LAST_STEP:
                from transforms.saliency.program import Program

                run_once = functools.partialmethod(_run_once, Program.run)
                patches.enter_context(mock.patch.object(Program, "run", run_once))
            announce(progress, step)

        def started(progress: Progress, step: str) -> contextlib.AbstractContextManager[None]:
            steps.begin(step)
            return starting(progress, step)

        patches.enter_context(mock.patch.object(Progress, "announce", told))
        patches.enter_context(mock.patch.object(Progress, "starting", started))
        yield


def _run_once(program: Any, run: Callable[..., Any], *given: Any, **named: Any) -> NoReturn:
    run(program, *given, **named)
    raise _FirstGradientError


def measure_run(config: str, begun: float) -> Figures:
    """A run, up to its first mini-batch."""
    from pipeline.cli import main

    steps = Steps(begun)
    with _watched(steps):
        try:
            code = main(["run", config, "--overwrite", "--quiet"])
        except _FirstGradientError:
            return steps.figures()
    raise SystemExit(f"the run ended with {code} before it explained anything")


def measure_import(_: str, begun: float) -> Figures:
    """Importing TensorFlow."""
    steps = Steps(begun)
    import tensorflow  # noqa: F401 - that is what takes the time

    return steps.figures()


MEASURES = {"run": measure_run, "import": measure_import}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    given_at = float(os.environ.get("BENCH_BEGUN", time.time()))
    print(json.dumps(MEASURES[sys.argv[1]](sys.argv[2], given_at)))
