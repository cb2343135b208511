"""An audit, read top to bottom: gates, figures with intervals, verdicts, what changed since."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence

from pipeline.atlas import Atlas
from pipeline.audit.comparable import (
    check_finished,
    check_reference,
    check_same_maps,
    check_same_statistics,
    input_kind,
)
from pipeline.audit.estimation.intervals import simultaneous
from pipeline.audit.exemplars import heaviest
from pipeline.audit.figures import (
    ClassFolds,
    Paired,
    of_change,
    of_drift,
    of_failures,
    of_value,
    paired_column,
)
from pipeline.audit.groups import Groups
from pipeline.audit.judging import Judged, compare
from pipeline.audit.pairs import CORRECT, paired_sums
from pipeline.audit.result import (
    AuditResult,
    Comparison,
    PreviousAudit,
    SampleSize,
    Status,
    Verdict,
)
from pipeline.audit.selection import Statistics, check_gates, check_labels
from pipeline.audit.shortcuts.candidates import find_candidates
from pipeline.audit.shortcuts.gate import judge_shortcuts
from pipeline.audit.shortcuts.indicators import indicators
from pipeline.audit.shortcuts.proposals import propose
from pipeline.audit.shortcuts.reference import Reference
from pipeline.audit.shortcuts.scores import Scores
from pipeline.audit.shortcuts.shortcut import Proposal, ReferenceClasses
from pipeline.audit.shortcuts.trying import Experiments, try_all
from pipeline.audit.statistics import ACCURACY, DRIFT, FAILED, UNDEFINED, statistic
from pipeline.config.audit_section import AuditSection, GateSection
from transforms.errors import ConfigurationError
from transforms.storage import to_text


def audit(
    atlas: Atlas,
    section: AuditSection,
    baseline: Atlas | None = None,
    previous: PreviousAudit | None = None,
    *,
    now: datetime.datetime | None = None,
    reference: Sequence[Atlas] = (),
    experiments: Experiments | None = None,
) -> AuditResult:
    """Judges an atlas. Reads its small tables, and rows only where a figure needs them.

    Args:
      atlas: What is judged.
      section: By what.
      baseline: What changes and drift are measured from.
      previous: The previous audit, by which failures are new or known.
      now: When, UTC; the clock's unless given.
      reference: Blessed atlases, whose classes candidates for shortcuts are ranked among.
      experiments: Try candidates for shortcuts on the model; None leaves them as they are.

    Raises:
      ConfigurationError: A gate or waiver names what is not there; another atlas does not compare,
        or one of the reference is not blessed.
      RunError: An atlas is not whole.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    check_gates(section, baseline is not None)
    for each in (atlas, *([] if baseline is None else [baseline]), *reference):
        check_finished(each)
    if baseline is not None:
        check_same_maps(atlas, baseline, "baseline")
        check_same_statistics(atlas, baseline, section.gates)
    for each in reference:
        check_reference(atlas, each)
    work = _Audit(
        atlas, section, baseline, now.date(), reference=reference, experiments=experiments
    )
    comparisons = _with_status([*work.comparisons()], previous)
    return AuditResult(
        verdict=_verdict(comparisons, section),
        atlas=to_text(atlas.path),
        atlas_fingerprint=atlas.manifest["fingerprint"],
        baseline=None if baseline is None else to_text(baseline.path),
        baseline_fingerprint=None if baseline is None else baseline.manifest["fingerprint"],
        made=now.isoformat(timespec="seconds"),
        previous=None if previous is None else previous.made,
        min_n=section.min_n,
        confidence=section.confidence,
        undecided=section.undecided,
        gates=comparisons,
        shortcuts=work.shortcuts,
        proposals=work.proposals,
        reference=work.reference,
        sample=SampleSize.of(atlas.sample),
        baseline_sample=None if baseline is None else SampleSize.of(baseline.sample),
    )


class _Audit:
    """What the gates of one audit share."""

    def __init__(
        self,
        atlas: Atlas,
        section: AuditSection,
        baseline: Atlas | None,
        today: datetime.date,
        *,
        reference: Sequence[Atlas],
        experiments: Experiments | None,
    ) -> None:
        self._atlas, self._baseline = atlas, baseline
        self._section, self._today = section, today
        self._statistics = Statistics(atlas, section.gates)
        self._selected = [
            None if gate.statistic == FAILED else self._statistics.select(gate)
            for gate in section.gates
        ]
        for gate, groups in zip(section.gates, self._selected, strict=True):
            if groups is not None:
                check_labels(gate, groups)
        for waiver in section.waivers:
            self._statistics.check_waiver(waiver)
        against = [gate for gate in section.gates if gate.needs_baseline]
        if baseline is not None and against:
            self._others = Statistics(baseline, against)
            self._pairs = _pairs(atlas, baseline, against)
            if any(gate.statistic == DRIFT for gate in against):
                self._folds = [ClassFolds.read(each) for each in (atlas, baseline)]

        # Last: trying candidates takes the model, and a wrong gate should be told before.
        self.reference: ReferenceClasses | None = None
        scores = self._indicators(is_asked=bool(experiments or reference))
        candidates = find_candidates(atlas, scores, section.min_n, self._ranks(reference, scores))
        self._maps = {
            target: n
            for each in scores
            if each.kind == "place"
            for target, n in zip(each.targets.tolist(), each.n.tolist(), strict=True)
        }
        self.shortcuts = [each.finding for each in candidates]
        self.proposals: list[Proposal] | None = None
        if experiments is not None:
            proposals = propose(atlas, scores, section.min_n)
            tried = try_all(candidates, proposals, experiments)
            self.shortcuts, self.proposals = tried.shortcuts, tried.proposals

    def _indicators(self, *, is_asked: bool) -> list[Scores]:
        gates = [gate.title for gate in self._section.gates if gate.shortcut is not None]
        kind = input_kind(self._atlas)
        if kind != "image":
            if gates:
                raise ConfigurationError(
                    f"gate {gates[0]!r}: shortcuts are looked for in images, and "
                    f"{self._atlas.path} explains {kind or 'input'}s: leave the gate out"
                )
            return []
        try:
            scores = indicators(self._atlas)
        except ConfigurationError:  # An older atlas, without the table of folds.
            if is_asked or gates:
                raise
            return []
        if gates and not scores:
            raise ConfigurationError(
                f"gate {gates[0]!r}: {self._atlas.path} has maps of fewer than two classes, so no "
                "shortcut can be told: leave the gate out"
            )
        return scores

    def _ranks(self, atlases: Sequence[Atlas], scores: Sequence[Scores]) -> Reference | None:
        if not atlases or input_kind(self._atlas) != "image":
            return None
        reference = Reference.of(atlases, self._section.min_n)
        self.reference = reference.describe([to_text(each.path) for each in atlases], scores)
        return reference

    def comparisons(self) -> Iterator[Comparison]:
        """Of all gates, in their order."""
        for gate, selected in zip(self._section.gates, self._selected, strict=True):
            if gate.shortcut is not None and selected is not None:
                yield from judge_shortcuts(
                    gate, selected, self.shortcuts, self._section, self._today, maps=self._maps
                )
                continue
            groups, judged = self._judged(gate, selected)
            confidence = self._section.confidence
            if selected is not None:
                # Only those with examples enough are judged; which does not depend on values.
                enough = judged.least_n >= self._section.min_n
                confidence = simultaneous(confidence, int(enough.sum()))
            found = compare(gate, groups, judged, confidence, self._section, self._today)
            yield from self._with_examples(gate, found)

    def _judged(self, gate: GateSection, groups: Groups | None) -> tuple[Groups, Judged]:
        if groups is None:
            return of_failures(self._atlas)
        if gate.statistic == DRIFT:
            return groups, of_drift(groups, self._folds[0], self._folds[1])
        found = statistic(gate.statistic)
        if gate.change is None:
            return groups, of_value(found, groups)
        others = self._others.all_of(groups.slice).same_as(groups)
        return groups, of_change(found, groups, others, self._pairs.get(groups.slice, {}))

    def _with_examples(self, gate: GateSection, found: list[Comparison]) -> list[Comparison]:
        """Adds to failures the examples that weigh most in them."""
        column = _column(gate)
        failed = [place for place, each in enumerate(found) if each.verdict == "fail"]
        if column is None or not failed:
            return found
        groups, highest, references = [], [], []
        for place in failed:
            each = found[place]
            groups.append((each.class_number, each.slice_value))
            bound = each.threshold.high
            judged = each.value if each.change is None else each.change
            highest.append(bound is not None and judged is not None and judged >= bound)
            if gate.statistic == DRIFT and each.class_number is not None:
                mean_map = self._folds[1].mean_map(each.class_number, each.class_name)
                references.append(mean_map)
        slice_name = found[0].slice
        ids = heaviest(
            self._atlas, column, slice_name, groups, highest, references=references or None
        )
        for place, examples in zip(failed, ids, strict=True):
            found[place] = dataclasses.replace(found[place], examples=tuple(examples))
        return found


def _column(gate: GateSection) -> str | None:
    """What of each example makes a statistic; None where no example does."""
    if gate.statistic == DRIFT:
        return "sketch"
    if gate.statistic in (FAILED, UNDEFINED):
        return None
    return CORRECT if gate.statistic == ACCURACY else statistic(gate.statistic).of


def _pairs(atlas: Atlas, baseline: Atlas, gates: Sequence[GateSection]) -> dict[str | None, Paired]:
    """Sums over the examples of both, by slice: one pass over the rows for each."""
    wanted: dict[str | None, dict[str, None]] = {}
    for gate in gates:
        column = None if gate.change is None else paired_column(statistic(gate.statistic))
        if column is not None:
            wanted.setdefault(gate.where.slice_name, {})[column] = None
    return {
        slice_name: paired_sums(atlas, baseline, list(columns), slice_name)
        for slice_name, columns in wanted.items()
    }


def _with_status(comparisons: list[Comparison], previous: PreviousAudit | None) -> list[Comparison]:
    """Says of each whether it is new, known or resolved."""
    before = previous.open_failures if previous else frozenset()
    found = []
    for each in comparisons:
        status: Status | None = None
        if each.verdict == "fail":
            status = "known" if each.identity in before else "new"
        elif each.identity in before:
            status = "resolved" if each.verdict == "pass" else "known"
        found.append(each if status is None else dataclasses.replace(each, status=status))
    return found


def _verdict(comparisons: Sequence[Comparison], section: AuditSection) -> Verdict:
    if any(each.counts_as_failure for each in comparisons):
        return "fail"
    undecided = any(each.verdict == "undecided" and each.severity == "fail" for each in comparisons)
    if not undecided:
        return "pass"
    return "fail" if section.undecided == "fail" else "undecided"
