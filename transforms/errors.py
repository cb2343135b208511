"""The three ways things go wrong: the configuration, the data, the run."""

from __future__ import annotations

from collections.abc import Iterable


class ConfigurationError(ValueError):
    """A configuration, a model or files that cannot be worked with (exit code 2).

    The message is one sentence that names the key or file, its value and the remedy.

    >>> InputSpec("image", (224, 224))
    Traceback (most recent call last):
        ...
    transforms.errors.ConfigurationError: source.input.shape is [224, 224]; for images give [height,
    width, channels] with 1, 3 or 4 channels
    """


class DataFault(Exception):  # noqa: N818 - it is the fault of data, not an error of ours
    """One record or example that the data, not the program, made unusable.

    It becomes a row of `failures.parquet`; it never stops a run.

    Attributes:
      stage: Where it was noticed: `read`, `parse`, `decode` or `explain`.
      error: A short, stable name of the fault, such as `UndecodableImage`.
    """

    def __init__(self, stage: str, error: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error

    def __reduce__(self) -> tuple[type[DataFault], tuple[str, str, str]]:
        return (DataFault, (self.stage, self.error, str(self)))


class RunError(RuntimeError):
    """A run that began and could not be finished (exit code 3).

    >>> try:
    ...     raise RunError("the disk is full")
    ... except RunError as error:
    ...     print(f"go on with --resume: {error}")
    go on with --resume: the disk is full
    """


def alternatives(values: Iterable[object]) -> str:
    """Values as a sentence names them, one of which is to be chosen.

    >>> alternatives(["max", "mean", "none"])
    'max, mean or none'
    """
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last
