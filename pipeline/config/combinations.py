"""Keys that do not fit each other, or what an atlas has: a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeline.config.sections import InputsSection, SourceSection
from transforms.statistics.columns import MAPS_COLUMNS, OUTCOME, region_energy


def slice_problems(slices: Sequence[str], regions: Iterable[str]) -> Iterator[str]:
    """A line for each slice whose name the tables have taken."""
    taken = MAPS_COLUMNS | set(map(region_energy, regions))
    for name in slices:
        if name in taken:
            yield (
                f"source.features.slices names {name!r}, and the maps table has a column of that "
                "name; give the feature another one in the data"
            )
        elif name == OUTCOME:
            yield (
                f"source.features.slices names {name!r}, a slice that every atlas has; give the "
                "feature another name in the data"
            )


def table_problems(source: SourceSection) -> Iterator[str]:
    """A line for what a list of features does not fit."""
    if isinstance(source.features.input, str):
        return
    names, spec = list(source.features.input), source.input
    if spec.kind == "image":
        yield (
            f"source.features.input is {names}, but source.input.kind is 'image', which is one "
            "feature; set source.input.kind to tensor for a table"
        )
    elif list(spec.shape) != [len(names)]:
        yield (
            f"source.features.input names {len(names)} features of one number each, but "
            f"source.input.shape is {list(spec.shape)}; give [{len(names)}], or the features that "
            "the model takes"
        )


def inputs_problems(inputs: InputsSection | None) -> Iterator[str]:
    """A line for each input that is given in two ways."""
    if inputs is None:
        return
    for name in inputs.features:
        if name == inputs.explained:
            yield (
                f"model.inputs.features names {name!r}, which is the input that is explained; "
                "source.features.input feeds it"
            )
        elif name in inputs.constants:
            yield (f"model.inputs gives {name!r} a constant and a feature; give one of them")
