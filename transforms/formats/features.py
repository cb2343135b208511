"""Which features of a record are read, and what each is for: its *role*."""

from __future__ import annotations

import dataclasses

from transforms.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Features:
    """Names of the features (tf.train.Example) or columns (Parquet) that are read.

    Attributes:
      input: Encoded image, raw bytes or numeric list; or several features of one number each, which
        make a table's row in this order.
      id: Example id; None makes it `SHARD:record` (`Shard.example_id`).
      label: Integer class index, or a string among the class names; None where there are no labels.
      boxes: Flat list of `[ymin, xmin, ymax, xmax]` in 0..1, one box or more; None where there are
        none.
      slices: Strings, integers or booleans by which statistics are split; an example without a
        value has the value null.
      mask: A mask of the image, as a PNG; None where there are none.
      beside: Inputs of the model beside the explained one, each with the feature of numbers that
        feeds it.

    >>> Features(input="image.bytes", label="label").id is None
    True
    >>> Features(input=("age", "bmi")).table
    ('age', 'bmi')
    """

    input: str | tuple[str, ...]
    id: str | None = None
    label: str | None = None
    boxes: str | None = None
    slices: tuple[str, ...] = ()
    mask: str | None = None
    beside: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.input:
            raise ConfigurationError("source.features.input is empty; give the name of a feature")
        for role, name in self.named().items():
            if not name:
                raise ConfigurationError(f"{key_of(role)} is empty; give the name of a feature")
        for key, names in (("input", self.table), ("slices", self.slices)):
            for name in names:
                if names.count(name) > 1:
                    raise ConfigurationError(
                        f"source.features.{key} names {name!r} twice; give each feature once"
                    )

    @property
    def table(self) -> tuple[str, ...]:
        """The features of one number each that make an input; none where one feature is all."""
        return () if isinstance(self.input, str) else self.input

    def named(self) -> dict[str, str]:
        """The features that are configured: role -> name, the input first.

        >>> Features(input="image", label="y").named()
        {'input': 'image', 'label': 'y'}
        >>> Features(input=("age", "bmi")).named()
        {'input.age': 'age', 'input.bmi': 'bmi'}
        """
        inputs = {INPUT: self.input} if isinstance(self.input, str) else {}
        inputs |= {input_role(name): name for name in self.table}
        roles = {role: getattr(self, role) for role in ("id", "label", "boxes", "mask")}
        named = {role: name for role, name in roles.items() if name is not None}
        named |= {slice_role(name): name for name in self.slices}
        return inputs | named | {beside_role(fed): name for fed, name in self.beside}


_BESIDE = "beside"

INPUT = "input"
"""The role of the feature that holds all of an input."""


def input_role(name: str) -> str:
    """The role of a feature that is one number of an input."""
    return f"{INPUT}.{name}"


def slice_role(name: str) -> str:
    """The role of a feature by which statistics are split."""
    return f"slices.{name}"


def beside_role(name: str) -> str:
    """The role of a feature that feeds another input than the explained one."""
    return f"{_BESIDE}.{name}"


def key_of(role: str) -> str:
    """The configuration's key that names the feature of a role.

    >>> key_of("label"), key_of(slice_role("camera")), key_of(beside_role("age"))
    ('source.features.label', 'source.features.slices', 'model.inputs.features')
    """
    kind = role.partition(".")[0]
    return "model.inputs.features" if kind == _BESIDE else f"source.features.{kind}"


def describe(role: str, name: str) -> str:
    """A feature as messages name it: with the key that asks for it.

    >>> describe("label", "y")
    "feature 'y' (source.features.label)"
    """
    return f"feature {name!r} ({key_of(role)})"
