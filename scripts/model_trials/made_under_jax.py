"""A model that was made and saved under JAX, by an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_trials.kind import IMAGE, Kind

_CLASS = 1
_MAKER = Path(__file__).with_name("jax_maker.py")


def kinds_of_jax(environment: Path) -> Iterator[Kind]:
    """The kinds that need JAX.

    Args:
      environment: A folder with a virtual environment that has Keras and JAX; made if it is not
        there.
    """
    python = environment / "bin" / "python"

    def run(*arguments: str | Path) -> None:
        # Isolated: modules beside the maker are none of its own.
        subprocess.run([python, "-I", _MAKER, *map(str, arguments)], check=True)  # noqa: S603

    def make() -> bytes:
        if not python.exists():
            _install(environment, python)
        with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
            path = Path(folder, "model.keras")
            run("make", path)
            return path.read_bytes()

    def plain(content: Any, values: Any) -> npt.NDArray[np.float32]:
        """JAX's own gradients."""
        with tempfile.TemporaryDirectory(prefix="saliency-atlas-") as folder:
            model, inputs, gradients = (
                Path(folder, name) for name in ("m.keras", "x.npy", "g.npy")
            )
            model.write_bytes(content)
            np.save(inputs, values)
            run("gradient", model, inputs, str(_CLASS), gradients)
            found: npt.NDArray[np.float32] = np.load(gradients)
            return found

    def write(content: Any, path: Path) -> None:
        path.write_bytes(content)

    for engine in ("tensorflow", "openvino"):
        name = f"made under JAX, {engine}"
        yield Kind(name, make, IMAGE, engine=engine, write=write, plain=plain)


def _install(environment: Path, python: Path) -> None:
    import keras

    for command in (
        [sys.executable, "-m", "venv", environment],
        [python, "-m", "pip", "install", "--quiet", f"keras=={keras.__version__}", "jax"],
    ):
        subprocess.run([str(each) for each in command], check=True)  # noqa: S603 - as written here
