"""Saliency Atlas for its users: `Atlas` reads what a run has written.

What stands in `__all__` is the public surface; all else in this package may change. Importing it
imports nothing heavy: `Atlas` brings NumPy and pyarrow when it is first used, never Beam or
TensorFlow. Runs are made by the command line, `saliency-atlas`.

    from pipeline import Atlas

The stages, and explanations without an atlas, are in `transforms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Atlas", "ExplainedExample", "ExplainedMap"]

if TYPE_CHECKING:
    from pipeline.atlas import Atlas
    from pipeline.explained import ExplainedExample, ExplainedMap
else:  # Where a type checker saw it, it would take every name for one of ours.

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pipeline import atlas

        return getattr(atlas, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
