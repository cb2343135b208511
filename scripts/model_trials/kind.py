"""What a trial is of: a model, how it is saved, how it is explained, and what is to come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

FileKind = Literal["model.keras", "model.h5", "saved"]
Data = Literal["numbers", "bytes", "tokens"]

IMAGE = (32, 32, 3)
SERIES = (12, 4)
ROW = (9,)
EXAMPLES = 3
"""Of each kind that are explained at once."""

TOKENS = 20
"""How many a vocabulary has."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A model to be tried.

    Attributes:
      name: Of the kind.
      make: Makes the model; needs Keras.
      shape: Of one input.
      file: What it is saved as; `saved` is `model.export`.
      refusal: A part of the sentence that refuses it; None where it is to be explained.
      operator: The operator that explains it.
      output: `as_is` or `logits`.
      data: What inputs hold.
      channels: `first` where the model takes them so and the run is told.
      signature: The signature that is called; None for the default.
      explained: The input that is explained, of several; the others are held at 0.5.
      fed: What feeds the others instead, by name: (N, ...) of N examples.
      columns: Whether inputs come from a Parquet file with a column per number.
      engine: Who computes the gradient.
      write: Saves it at a path, where `file` does not say how.
      plain: Gradients of the score by a plain tape, where the usual way is not one: (the model,
        its inputs) -> an array.
    """

    name: str
    make: Callable[[], Any]
    shape: tuple[int, ...]
    file: FileKind = "model.keras"
    refusal: str | None = None
    operator: str = "classification"
    output: Literal["as_is", "logits"] = "as_is"
    data: Data = "numbers"
    channels: Literal["first"] | None = None
    signature: str | None = None
    explained: str | None = None
    fed: Mapping[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)
    columns: bool = False
    engine: str = "tensorflow"
    write: Callable[[Any, Path], None] | None = None
    plain: Callable[[Any, Any], Any] | None = None


def save(model: Any, kind: Kind, folder: Path) -> Path:
    """Saves a model as its kind says; returns the path."""
    path = folder / kind.file
    if kind.write is not None:
        kind.write(model, path)
    elif kind.file == "saved":
        model.export(path, verbose=False)
    else:
        model.save(path)
    return path
