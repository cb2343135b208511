"""The section `audit` of a configuration: gates, and the failures of them that are waived.

It needs no more than pydantic, as who audits reads small tables on a laptop.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from pipeline.config.section import Count, Lenient, Section, Text

Severity = Literal["fail", "warn"]
_SliceValue = str | int | float | bool | None
_ClassName = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
_BOUNDS = ("below", "above", "between", "change")
_DRIFT = "drift"
SHORTCUT = "shortcut"
"""The statistic of a gate about shortcuts."""

_DATE = r"\d{4}-\d{2}-\d{2}"
_SHOWN_NAMES = 20


def slice_text(value: _SliceValue) -> str | None:
    """A slice's value as the tables have it: text, or None for null.

    >>> slice_text(2024), slice_text(True), slice_text(None)
    ('2024', 'true', None)
    """
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


class ChangeSection(Section):
    """How far a figure may be from the baseline's."""

    within: Annotated[float, Field(gt=0)]


class WhereSection(Section):
    """Which classes and which part of them a gate is about."""

    classes: _ClassName | Annotated[tuple[_ClassName, ...], Lenient, Field(min_length=1)] | None = (
        Field(
            None,
            alias="class",
            description="the name or the number of a class, a list of them, or null for every one",
        )
    )
    slice: (
        Text
        | Annotated[
            dict[Text, _SliceValue | Annotated[tuple[_SliceValue, ...], Lenient]],
            Field(min_length=1, max_length=1),
        ]
        | None
    ) = Field(
        None,
        description="the name of a slice for each of its values, {NAME: VALUE}, "
        "{NAME: [VALUE, ...]}, or null for whole classes",
    )

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes as text, also where one is given alone; None for every one."""
        if self.classes is None:
            return None
        several = self.classes if isinstance(self.classes, tuple) else (self.classes,)
        return tuple(str(each) for each in several)

    @property
    def slice_name(self) -> str | None:
        """The slice; None for whole classes."""
        return self.slice if isinstance(self.slice, str | None) else next(iter(self.slice))

    @property
    def slice_values(self) -> tuple[str | None, ...] | None:
        """The slice's values as tables have them; None for every one."""
        if isinstance(self.slice, str | None):
            return None
        (values,) = self.slice.values()
        several = values if isinstance(values, tuple) else (values,)
        return tuple(slice_text(value) for value in several)


class GateSection(Section):
    """What has to hold of a statistic."""

    name: Text | None = Field(None, description="a name of its own, or null for the statistic's")
    statistic: Text = Field(
        description="a mean or a quantile of classes.parquet such as border_energy_mean, or "
        "accuracy, failed_fraction, undefined_fraction or drift"
    )
    below: float | None = Field(None, description="a number that the statistic has to be below")
    above: float | None = Field(None, description="a number that the statistic has to be above")
    between: Annotated[tuple[float, float], Lenient] | None = Field(
        None, description="two numbers, [LOW, HIGH], that the statistic has to lie between"
    )
    change: ChangeSection | None = Field(
        None,
        description="{within: NUMBER}, how far the statistic may be from the baseline's, above 0",
    )
    where: WhereSection = WhereSection.model_validate({})
    severity: Severity = Field("fail", description="fail or warn")
    shortcut: Literal["used"] | None = Field(
        None, description="used, for a gate that a shortcut fails which the model uses"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_shortcut(cls, values: Any) -> Any:
        """A gate about shortcuts has no other statistic."""
        if isinstance(values, dict) and values.get("shortcut") and "statistic" not in values:
            return {**values, "statistic": SHORTCUT}
        return values

    @property
    def title(self) -> str:
        """The name, or the statistic where there is none."""
        return self.name or self.statistic

    @property
    def needs_baseline(self) -> bool:
        """Whether there is nothing to judge without another atlas."""
        return self.change is not None or self.statistic == _DRIFT


class WaiverSection(Section):
    """A failure that is accepted until a day."""

    gate: Text = Field(description="the name of a gate")
    classes: _ClassName | None = Field(
        None, alias="class", description="the name or the number of a class, or null for every one"
    )
    slice: Annotated[dict[Text, _SliceValue], Field(min_length=1, max_length=1)] | None = Field(
        None, description="{NAME: VALUE}, or null for whatever the gate is about"
    )
    until: Annotated[str, Field(pattern=f"^{_DATE}$")] = Field(
        description="the last day of the waiver, such as 2027-03-31"
    )
    reason: Text = Field(description="why the failure is accepted, in words")

    @property
    def last_day(self) -> datetime.date:
        """The day after which the failure counts again."""
        return datetime.date.fromisoformat(self.until)

    @property
    def slice_group(self) -> tuple[str, str | None] | None:
        """The slice and its value as tables have it; None for any."""
        if self.slice is None:
            return None
        ((name, value),) = self.slice.items()
        return name, slice_text(value)


class AuditSection(Section):
    """What an atlas is judged by."""

    min_n: Count = Field(50, description="an integer of at least 1")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.95, description="a number between 0 and 1"
    )
    undecided: Severity = Field("warn", description="warn or fail")
    min_effect: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="a number between 0 and 1, a share of a class's median margin"
    )
    reference: Annotated[tuple[Text, ...], Lenient] = Field(
        (), description="a list of the folders of atlases whose audits passed"
    )
    gates: Annotated[tuple[GateSection, ...], Lenient] = Field((), description="a list of gates")
    waivers: Annotated[tuple[WaiverSection, ...], Lenient] = Field(
        (), description="a list of waivers"
    )

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> AuditSection:
        problems = [*self._bounds(), *self._names(), *self._waivers()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _bounds(self) -> Iterator[str]:
        for number, gate in enumerate(self.gates):
            place = f"audit.gates[{number}]"
            said = [name for name in _BOUNDS if getattr(gate, name) is not None]
            if gate.shortcut is not None:
                if said or gate.statistic != SHORTCUT:
                    yield (
                        f"{place} is about shortcuts, whose threshold is audit.min_effect: leave "
                        f"out {' and '.join(said) or 'statistic'}"
                    )
                continue
            if len(said) != 1:
                had = " and ".join(said) or "none of them"
                yield f"{place} has {had}: give one of {', '.join(_BOUNDS)}"
            if gate.between is not None and gate.between[0] >= gate.between[1]:
                yield (
                    f"{place}.between is {list(gate.between)}: the first number must be below the "
                    "second"
                )
            if gate.statistic == _DRIFT and gate.change is not None:
                yield f"{place}.change is without meaning for drift, a change itself: use below"

    def _names(self) -> Iterator[str]:
        first: dict[str, int] = {}
        for number, gate in enumerate(self.gates):
            if gate.title in first:
                yield (
                    f"audit.gates[{number}] and audit.gates[{first[gate.title]}] are both named "
                    f"{gate.title!r}: give one of them another name"
                )
            first.setdefault(gate.title, number)

    def _waivers(self) -> Iterator[str]:
        titles = [gate.title for gate in self.gates]
        for number, waiver in enumerate(self.waivers):
            place = f"audit.waivers[{number}]"
            if waiver.gate not in titles:
                near = nearest(waiver.gate, titles)
                yield f"{place}.gate is {waiver.gate!r}, which is no gate: {near}"
            try:
                waiver.last_day  # noqa: B018 - it is computed
            except ValueError:
                yield f"{place}.until is {waiver.until!r}: there is no such day"


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say to who has named something that does not exist.

    >>> nearest("tisue", ["tissue", "retina"]), nearest("x", ["tissue", "retina"])
    ('did you mean tissue?', 'there are tissue, retina')
    >>> nearest("gini", ["accuracy", "gini_mean", "gini_q95"])
    'did you mean gini_mean or gini_q95?'
    """
    names = list(known)
    longer = [each for each in names if each.startswith(f"{name}_")]
    if longer:
        return f"did you mean {' or '.join(longer[:_SHOWN_NAMES])}?"
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    shown = ", ".join(names[:_SHOWN_NAMES]) or "none"
    more = len(names) - _SHOWN_NAMES
    return f"there are {shown}" + (f" and {more} more" if more > 0 else "")
