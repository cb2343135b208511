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
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.process.kept_files import KeptFiles
from transforms.saliency.engines.agreement import Agreement
from transforms.saliency.engines.engine import EngineSpec
from transforms.saliency.engines.surroundings import surroundings

_FOLDER = "engines"
_MOST_CHOICES = 256  # A kilobyte each; the longest unused goes.
_MOST_BYTES = 2**22
_LONGEST_SECONDS = 30 * 86_400.0

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
        """What `as_json` gave."""
        fields: dict[str, Any] = json.loads(text)
        agreement = fields["agreement"]
        return cls(
            spec=EngineSpec(**fields["spec"]),
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
        digest = hashlib.sha256(f"{subject}\n{wanted}\n{surroundings()}".encode())
        for array in examples:
            digest.update(f"\n{array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        self._name = digest.hexdigest()
        self._files = KeptFiles(
            folder / _FOLDER, ".choice", most_files=_MOST_CHOICES, most_bytes=_MOST_BYTES
        )

    @property
    def path(self) -> Path:
        """Where the choice is, if it is remembered."""
        return self._files.path(self._name)

    def recall(self) -> RememberedChoice | None:
        """What is remembered; None where that is nothing, or too long ago."""
        text = self._files.read(self._name)
        if text is None:
            return None
        choice = RememberedChoice.from_json(text.decode())
        age = time.time() - choice.measured
        return choice if 0 <= age <= _LONGEST_SECONDS else None

    def keep(self, choice: RememberedChoice) -> None:
        """Remembers a choice, and forgets the longest unused where there are many."""
        try:
            self._files.keep(self._name, [choice.as_json().encode()])
        except OSError as error:
            _LOGGER.info("the choice of an engine is not remembered: %s", error)
