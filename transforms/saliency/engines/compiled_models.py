"""Compiled models, kept so that a later process, or another one, does not compile them again.

A model is kept under a digest of all that it depends on: the traced gradient with the values of its
weights (`function_digest`), how it is compiled, this package's code, its libraries, the processor.
So whatever is found was made of the very same. What cannot be read or written is as if it was not
there; what is damaged is made anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.process.kept_files import KeptFiles
from transforms.saliency.engines.function_digest import function_digest
from transforms.saliency.engines.surroundings import surroundings

_FOLDER = "compiled"
_SUFFIX = ".model"
_MOST_FILES = 64
_MOST_BYTES = 2**30
_LENGTH_BYTES = 8

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CompiledModel:
    """What an engine's library has made of a gradient.

    Attributes:
      content: As the library writes it.
      names: Of the results, in their order.
      constants: Results that depend on no input, by name.
    """

    content: bytes | memoryview
    names: tuple[str, ...]
    constants: Mapping[str, npt.NDArray[Any]]

    def parts(self) -> list[bytes | memoryview]:
        """What is written: a header, the constants, the content."""
        arrays = {name: np.ascontiguousarray(each) for name, each in self.constants.items()}
        described = {name: [each.dtype.str, each.shape] for name, each in arrays.items()}
        header = json.dumps({"names": self.names, "constants": described}).encode()
        parts = [len(header).to_bytes(_LENGTH_BYTES, "little"), header]
        parts += [each.tobytes() for each in arrays.values()]
        return [*parts, self.content]

    @classmethod
    def of_bytes(cls, written: bytes) -> CompiledModel:
        """What `parts` gave, joined."""
        body = memoryview(written)
        place = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "little")
        header = json.loads(bytes(body[_LENGTH_BYTES:place]))
        constants = {}
        for name, (dtype, shape) in header["constants"].items():
            size = np.dtype(dtype).itemsize * int(np.prod(shape))
            constants[name] = np.frombuffer(body[place : place + size], dtype).reshape(shape)
            place += size
        return cls(body[place:], tuple(header["names"]), constants)


class CompiledModels:
    """The compiled models of a user.

    Args:
      folder: The user's cache folder; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._files = None
        if folder is not None:
            self._files = KeptFiles(
                folder / _FOLDER, _SUFFIX, most_files=_MOST_FILES, most_bytes=_MOST_BYTES
            )

    def key(self, function: Any, how: object) -> str | None:
        """Under which a compiled function is kept; None where it is not.

        Args:
          function: Concrete.
          how: All that its compilation depends on beside it, code and machine; shown in full by
            its `repr`.
        """
        if self._files is None:
            return None
        digest = function_digest(function)
        if digest is None:
            return None
        return hashlib.sha256(f"{digest}\n{how!r}\n{surroundings()}".encode()).hexdigest()

    def find(self, key: str | None) -> CompiledModel | None:
        """What is kept under a key; None where that is nothing."""
        if self._files is None or key is None:
            return None
        written = self._files.read(key)
        return None if written is None else CompiledModel.of_bytes(written)

    def distrust(self, key: str | None, why: str) -> None:
        """Says that what is kept under a key is no use, and is made anew."""
        _LOGGER.warning("the compiled model %s is refused, and is made anew: %s", key, why)

    def keep(self, key: str | None, model: CompiledModel) -> None:
        """Keeps a model under a key, and forgets the longest unused where there is too much."""
        if self._files is None or key is None:
            return
        if len(model.content) > self._files.most_bytes:
            _LOGGER.info("the compiled model is not kept: it has %d bytes", len(model.content))
            return
        try:
            self._files.keep(key, model.parts())
        except OSError as error:
            _LOGGER.info("the compiled model is not kept: %s", error)
