"""From a gate's words to the groups that it is about; what does not exist is refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.atlas import Atlas
from pipeline.audit.groups import HISTOGRAM, Groups, Histograms
from pipeline.audit.statistics import (
    ACCURACY,
    DRIFT,
    FAILED,
    Statistic,
    known_statistics,
    statistic,
)
from pipeline.config.audit_section import AuditSection, GateSection, WaiverSection, nearest
from transforms.errors import ConfigurationError
from transforms.store.layout import CLASSES, SLICES

_ALWAYS = ("class", "class_name", "n", "undefined_maps")


class Statistics:
    """The tables of groups of an atlas, with the columns that some gates need.

    Args:
      atlas: The atlas.
      gates: The gates.

    Raises:
      ConfigurationError: A gate is about a statistic, slice or table that is not there.
    """

    def __init__(self, atlas: Atlas, gates: Sequence[GateSection]) -> None:
        self._atlas = atlas
        schema = atlas.classes.schema  # that of slices has the same histograms
        known = known_statistics(schema.names)
        for gate in gates:
            if gate.statistic not in known and gate.shortcut is None:
                raise ConfigurationError(
                    f"gate {gate.title!r}: there is no statistic {gate.statistic!r} that has an "
                    f"interval: {nearest(gate.statistic, known)}"
                )
        classes = atlas.statistics(CLASSES, _columns(gates))
        rows = np.arange(classes.num_rows)
        self._classes = Groups(classes, None, Histograms(atlas, CLASSES, schema), rows)
        sliced = [gate for gate in gates if gate.where.slice_name is not None]
        # The table is read for a gate about a slice; without one, nobody asks for a part.
        self._slices = self._classes
        if sliced:
            slices = atlas.statistics(SLICES, ["slice", "value", *_columns(sliced)])
            rows = np.arange(slices.num_rows)
            self._slices = Groups(slices, None, Histograms(atlas, SLICES, schema), rows)

    def select(self, gate: GateSection) -> Groups:
        """The groups that a gate is about, in the table's order.

        Raises:
          ConfigurationError: A class, a slice or a value is not there, or none of the classes has
            any of the values.
        """
        groups = self._of_slice(gate)
        chosen = np.ones(len(groups), bool)
        wanted = gate.where.class_names
        if wanted is not None:
            names, numbers = groups.names, [str(number) for number in groups.numbers]
            every, every_number = self._classes.names, [str(n) for n in self._classes.numbers]
            for each in wanted:
                if each not in every and each not in every_number:
                    known = [
                        name or number for name, number in zip(every, every_number, strict=True)
                    ]
                    raise _unknown(gate, "class", each, known)
            chosen &= [
                name in wanted or number in wanted
                for name, number in zip(names, numbers, strict=True)
            ]
        values = gate.where.slice_values
        if values is not None:
            found = groups.values
            for value in values:
                if value not in found:
                    there = sorted({str(each) for each in found if each is not None})
                    raise _unknown(gate, f"value of {groups.slice}", str(value), there)
            chosen &= [value in values for value in found]
        if not chosen.any():  # What has nothing to judge would pass.
            raise ConfigurationError(
                f"gate {gate.title!r} has nothing to judge: no example of {self._atlas.path} is of "
                "what where names: name another class or value, or leave the gate out"
                if len(groups)
                else f"{self._atlas.path} has no examples, so there is nothing to judge"
            )
        return groups.taken(np.flatnonzero(chosen))

    def all_of(self, slice_name: str | None) -> Groups:
        """All groups of a slice, or all classes; none where there is no such slice."""
        if slice_name is None:
            return self._classes
        return self._slices.of_slice(slice_name)

    def _of_slice(self, gate: GateSection) -> Groups:
        name = gate.where.slice_name
        groups = self.all_of(name)
        if name is not None and not len(groups):
            raise _unknown(gate, "slice", name, self._slices.table["slice"].unique().to_pylist())
        return groups

    def check_waiver(self, waiver: WaiverSection) -> None:
        """Refuses a waiver for a class that is not there.

        Raises:
          ConfigurationError: It names the class and the nearest one.
        """
        name = None if waiver.classes is None else str(waiver.classes)
        pairs = zip(self._classes.names, self._classes.numbers, strict=True)
        known = [each for one, number in pairs for each in (one, str(number)) if each is not None]
        if name is not None and name not in known:
            named = [each for each in self._classes.names if each is not None]
            raise ConfigurationError(
                f"the waiver of gate {waiver.gate!r}: there is no class {name!r}: "
                f"{nearest(name, named or known)}"
            )


def check_gates(section: AuditSection, has_baseline: bool) -> None:
    """Refuses gates that cannot be judged, whatever the atlas.

    Raises:
      ConfigurationError: There are none, or one has no meaning here.
    """
    if not section.gates:
        raise ConfigurationError(
            "the configuration has no audit.gates: add a section such as "
            "audit: {gates: [{statistic: corner_energy_mean, below: 0.3}]}, or give another "
            "configuration by --config"
        )
    for gate in section.gates:
        if gate.needs_baseline and not has_baseline:
            raise ConfigurationError(
                f"gate {gate.title!r} compares with another atlas: give it by --baseline"
            )
        if gate.statistic == DRIFT and gate.where.slice_name is not None:
            raise ConfigurationError(
                f"gate {gate.title!r}: drift has an interval for whole classes only, as folds are "
                "kept of those: leave out where.slice"
            )
        if gate.shortcut is not None and gate.where.slice_name is not None:
            raise ConfigurationError(
                f"gate {gate.title!r}: shortcuts are of whole classes: leave out where.slice"
            )
        if gate.statistic == FAILED and gate.where != type(gate.where).model_validate({}):
            raise ConfigurationError(
                f"gate {gate.title!r}: failed_fraction is about the whole atlas, as what failed "
                "has no class: leave out where"
            )


def check_labels(gate: GateSection, groups: Groups) -> None:
    """Refuses an accuracy where no example has a label.

    Raises:
      ConfigurationError: There are none.
    """
    if gate.statistic == ACCURACY and np.isnan(groups.column("n_correct")).all():
        raise ConfigurationError(
            f"gate {gate.title!r}: there is no accuracy, as the atlas has no labels: set "
            "source.features.label and make it anew, or leave the gate out"
        )


def _columns(gates: Iterable[GateSection]) -> list[str]:
    """What is small of what gates need: histograms are read when they are needed."""
    needed = [column for gate in gates for column in _of(gate).columns]
    small = [column for column in needed if not column.endswith(HISTOGRAM)]
    return list(dict.fromkeys((*_ALWAYS, *small)))


def _of(gate: GateSection) -> Statistic:
    return statistic(gate.statistic)


def _unknown(gate: GateSection, what: str, name: str, known: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"gate {gate.title!r}: there is no {what} {name!r}: {nearest(name, known)}"
    )
