"""From what a record says of its class to the index of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.elements import NO_LABEL
from transforms.errors import DataFault

MAX_LABEL = int(np.iinfo(np.int32).max)

_LONGEST_NAME = (
    100  # bytes that messages quote: a feature of images may be taken for that of labels
)


class LabelReader:
    """Reads labels: whole numbers of any type, one-hot lists, or names of classes.

    Args:
      class_names: By class index. Where labels are names, each has to be there once.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._indices = {name.encode(): index for index, name in enumerate(class_names)}
        self._repeated = _repeated_name(class_names)

    def read(self, values: npt.NDArray[Any], described: str) -> int:
        """The class of one record.

        Args:
          values: What its feature holds, at least one value: bytes (dtype object) or numbers.
          described: The feature, for messages.

        Returns:
          Its index; `NO_LABEL` for NaN, which is what tables make of a number that is missing.

        Raises:
          DataFault: They name no class (stage `parse`).
        """
        if values.dtype == object:
            return self._of_name(values[0], described)
        if len(values) > 1:
            return _of_one_hot(values, described)
        (value,) = values
        if value != value:  # noqa: PLR0124 - NaN alone is not equal to itself
            return NO_LABEL
        if 0 <= value <= MAX_LABEL and value % 1 == 0:
            return int(value)
        raise DataFault(
            "parse",
            "LabelOutOfRange",
            f"{described} is {value}; labels are whole numbers from 0 to {MAX_LABEL}",
        )

    def _of_name(self, name: bytes, described: str) -> int:
        quoted = repr(name[:_LONGEST_NAME].decode(errors="backslashreplace"))
        found = f"{described} is {quoted}"
        if len(name) > _LONGEST_NAME:
            found += f" and {len(name) - _LONGEST_NAME} bytes more"
        if self._repeated is not None:
            raise DataFault(
                "parse",
                "RepeatedClassName",
                f"{found}, but source.classes has {self._repeated}, so names do not tell classes "
                "apart: give each class a name of its own",
            )
        if name not in self._indices:
            known = (
                f"is not among the {len(self._indices)} names in source.classes"
                if self._indices
                else "is text, and source.classes is not set: give a file with the names of the "
                "classes there, or labels that are integers"
            )
            raise DataFault("parse", "UnknownLabel", f"{found}, which {known}")
        return self._indices[name]


def _of_one_hot(values: npt.NDArray[Any], described: str) -> int:
    (places,) = np.nonzero(values)
    if len(places) == 1 and values[places[0]] == 1:
        return int(places[0])
    raise DataFault(
        "parse",
        "SeveralValues",
        f"{described} has {len(values)} values where one is meant, and is not one-hot: a single 1 "
        "among zeros",
    )


def _repeated_name(names: Sequence[str]) -> str | None:
    """The first name that stands twice, with its lines; None where there is none."""
    lines: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if name in lines:
            return f"{name!r} in lines {lines[name]} and {line}"
        lines[name] = line
    return None
