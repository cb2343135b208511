"""Choices of engines that are remembered, so that a run like an earlier one compares nothing again.

Comparing engines is half of what comes before the first gradient of a run. What it comes to depends
on the model, on what is computed of it, on the examples compared, on this code and its libraries,
and on the processor: a choice is kept under a digest of all of that, and holds for a month, as
speeds are those of a moment. What was timed on a machine that others kept busy is not kept.

No byte depends on whether a choice is remembered, only on which engine it is. As speeds that come
out otherwise would choose another one, whose maps differ in their last bits, runs that are alike
have the same bytes more often with a memory than without.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.models.devices import gpu_names, usable_cores
from transforms.process.version import installed_versions
from transforms.saliency.engines.agreement import Agreement
from transforms.saliency.engines.engine import EngineSpec, engine_names

_FOLDER = "engines"
_MOST_CHOICES = 256  # A kilobyte each; the oldest goes.
_LONGEST_SECONDS = 30 * 86_400.0
_SOURCES = Path(__file__).parents[2]

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RememberedChoice:
    """What comparing engines came to.

    Attributes:
      spec: The engine.
      agreement: How well its maps agreed with the reference's; None for the reference itself.
      notes: What was said of it and of the others.
      measured: When, in seconds since 1970.
    """

    spec: EngineSpec
    agreement: Agreement | None
    notes: tuple[str, ...]
    measured: float

    @classmethod
    def from_json(cls, text: str) -> RememberedChoice:
        """What `as_json` gave.

        Raises:
          ValueError: It is no such text.
          KeyError: The same.
          TypeError: The same.
        """
        fields: dict[str, Any] = json.loads(text)
        agreement, spec = fields["agreement"], EngineSpec(**fields["spec"])
        if spec.name not in engine_names():
            raise ValueError(f"there is no engine {spec.name!r}")
        return cls(
            spec=spec,
            agreement=None if agreement is None else Agreement(**agreement),
            notes=tuple(map(str, fields["notes"])),
            measured=float(fields["measured"]),
        )

    def as_json(self) -> str:
        """As text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @property
    def day(self) -> str:
        """When it was measured, such as `2026-11-30`."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.measured))


class ChoiceMemory:
    """Remembers choices in files. What cannot be read or written is as if it was not there.

    Args:
      folder: The user's cache folder.
      subject: What is explained and how: equal for equal computations alone.
      wanted: The engine that is asked for.
      examples: Arrays of the examples that engines are compared on.
    """

    def __init__(
        self,
        folder: Path,
        subject: str,
        wanted: EngineSpec,
        examples: Sequence[npt.NDArray[Any]],
    ) -> None:
        digest = hashlib.sha256(f"{subject}\n{wanted}\n{_surroundings()}".encode())
        for array in examples:
            digest.update(f"\n{array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        self.path = folder / _FOLDER / f"{digest.hexdigest()}.json"

    def recall(self) -> RememberedChoice | None:
        """What is remembered; None where that is nothing, or too long ago."""
        try:
            choice = RememberedChoice.from_json(self.path.read_text())
        except (OSError, ValueError, KeyError, TypeError):  # None yet, or damaged: it is made anew.
            return None
        age = time.time() - choice.measured
        return choice if 0 <= age <= _LONGEST_SECONDS else None

    def keep(self, choice: RememberedChoice) -> None:
        """Remembers a choice, and forgets the oldest where there are many."""
        folder = self.path.parent
        written = folder / f".{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            written.write_text(choice.as_json())
            os.replace(written, self.path)
            kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-_MOST_CHOICES]:
                path.unlink(missing_ok=True)
        except OSError as error:
            _LOGGER.info("the choice of an engine is not remembered: %s", error)


@functools.cache
def _surroundings() -> str:
    """What a choice depends on beside what is computed."""
    versions = installed_versions()
    for name in ("openvino", "tensorflow-cpu", "tf_keras"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    variables = {name: value for name, value in os.environ.items() if _is_of_libraries(name)}
    known = (
        versions,
        _sources(),
        _processor(),
        usable_cores(),
        gpu_names(),
        sorted(variables.items()),
    )
    return repr(known)


def _is_of_libraries(name: str) -> bool:
    return name.startswith(("TF_", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "OV_", "CUDA_"))


def _sources() -> str:
    """A digest of this package's code, which changes between versions, too, in a checkout."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """Model and abilities of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not Linux.
        return f"{platform.machine()} {platform.processor()}"
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return f"{platform.machine()} {sorted(told)}"
