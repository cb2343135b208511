"""A mistake as somebody makes it in good faith, and what has to be said of it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One row of the list.

    Attributes:
      done: What was done, in a few words.
      said: A fragment of the sentence that has to be said of it.
      overrides: Keys that are set, as `--set` takes them; `{folder}` stands for the folder of data
        and models.
      code: The exit code; 0 where it may be meant, and is warned of.
      command: What was called, as words; `CONFIG` stands for the configuration.
    """

    done: str
    said: str
    overrides: tuple[str, ...] = ()
    code: int = 2
    command: tuple[str, ...] = ("plan", "CONFIG")


def of(done: str, override: str, said: str, code: int = 2) -> Mistake:
    """A mistake in keys alone; several are separated by ` ; `."""
    return Mistake(done, said, tuple(override.split(" ; ")) if override else (), code)
