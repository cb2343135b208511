"""What is on the page, from an atlas and what stands beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipeline.atlas import Atlas
from pipeline.report import wording
from pipeline.report.classes.exemplars import (
    IN_PLACE,
    LONGEST_MAP,
    TYPICAL,
    Selection,
    choose,
    highest,
)
from pipeline.report.classes.opened import Opened, rule_in_words
from pipeline.report.classes.slices import Slices
from pipeline.report.classes.views import (
    OF_IMAGES,
    WITHOUT_AXIS,
    ClassView,
    class_names,
    class_views,
    mean_maps,
    named,
    shown_statistics,
)
from pipeline.report.comparison.section import SHOWN_CLASSES, compare_with
from pipeline.report.drawing import charts
from pipeline.report.drawing.maps import maps_of
from pipeline.report.findings.finding import Finding, described, standing_out
from pipeline.report.findings.judged import (
    audited_statistics,
    audited_verdict,
    failures,
    looked_into,
    read_audit,
)
from pipeline.report.findings.verdict import Verdict, describing
from pipeline.report.page import fragment, packed
from pipeline.report.provenance import (
    certified,
    command,
    details,
    facts,
    failure_groups,
    image_warnings,
    settings,
)
from transforms.errors import ConfigurationError
from transforms.statistics.columns import UNIFORM_SHARES
from transforms.store.tables import FAILURES_SCHEMA

_DETAILED_CLASSES = 60
_OF_FINDINGS = 6
_PER_RULE = ((20, 4), (60, 2))  # up to so many classes
_COMPACT_EXEMPLARS = 1000  # per rule, over all classes
_COMPACT_MAP = 16  # pixels of their maps: a thousand classes have three thousand of them


class Content:
    """All that a page shows of an atlas.

    Args:
      atlas: The atlas.
      baseline: What it is held against; None for nothing.
    """

    def __init__(self, atlas: Atlas, baseline: Atlas | None = None) -> None:
        self._atlas = atlas
        self._manifest = atlas.manifest
        self._table = _classes(atlas)
        table = self._table
        self._names = {} if table is None else class_names(table)
        # What is predicted may be a class without a map of its own.
        known = {
            number: named(number, name) for number, name in enumerate(atlas.manifest["class_names"])
        }
        self._called = known | self._names
        self._maps = {} if table is None else mean_maps(table)
        self._audit, self._noted = read_audit(atlas)
        wanted = audited_statistics(self._audit)
        self._shown = () if table is None else shown_statistics(table, wanted)
        self._has_accuracy = table is not None and table["n_correct"].null_count < table.num_rows
        columns = () if table is None else table.column_names
        self._drawn = maps_of(self._manifest, atlas.feature_names)
        self._slices = Slices(atlas, self._shown, columns, self._drawn)
        findings = self._found()
        self._detailed = len(self._names) <= _DETAILED_CLASSES
        self._selection = self._select(findings)
        self._chosen = choose(atlas, self._maps, self._selection)
        self._opened = Opened(self._chosen, self._selection, self._slices.outcomes(), self._drawn)
        self._findings = [self._pictured(self._with_exemplars(each)) for each in findings]
        self._comparison = None if baseline is None else compare_with(atlas, baseline, self._drawn)

    def as_dict(self) -> dict[str, Any]:
        """What the template needs, by name; classes are made one by one."""
        manifest, atlas = self._manifest, self._atlas
        regions = manifest["map_format"].get("regions", {})
        failed = _failures(atlas)
        return {
            "title": atlas.path.rstrip("/").rpartition("/")[2],
            "verdict": self._verdict(),
            "facts": facts(manifest, len(self._names)),
            "findings": self._findings,
            "columns": [
                (name, wording.statistic_name(name), wording.statistic_meaning(name, regions))
                for name in self._shown
            ],
            "has_multiples": bool({*self._shown} & {*UNIFORM_SHARES}),
            "has_shares": bool({*self._shown} - {*UNIFORM_SHARES, *WITHOUT_AXIS}),
            "class_count": len(self._names),
            "has_accuracy": self._has_accuracy,
            "has_histograms": self._table is not None
            and bool(self._shown)
            and f"{self._shown[0]}_histogram" in self._table.column_names,
            "classes": self._classes(),
            "comparison": self._comparison,
            "shown_changes": SHOWN_CLASSES,
            "slices": self._slices.view(),
            "packed": packed,
            "names": self._called,
            "legend": charts.legend(),
            "has_thumbnails": manifest["map_format"].get("thumbnail_shape") is not None,
            "is_finished": manifest["status"] != "incomplete",
            "is_of_images": manifest["config"]["source"]["input"]["kind"] == "image",
            "failures": failure_groups(failed),
            "failure_count": failed.num_rows,
            "image_warnings": image_warnings(manifest),
            "details": [*details(manifest, atlas.path), *looked_into(self._audit)],
            "command": command(manifest),
            "settings": settings(manifest),
            "certificate": certified(manifest),
            "maps": self._drawn,
            "opened": self._opened,
        }

    def _found(self) -> list[Finding]:
        if self._audit is not None and (self._audit.gates or self._audit.shortcuts):
            return failures(self._audit, self._names)
        outs = [] if self._table is None else standing_out(self._table)
        return [described(out, self._names) for out in outs]

    def _verdict(self) -> Verdict:
        if self._audit is not None:
            return audited_verdict(self._audit, self._manifest, self._findings, self._noted)
        verdict = describing(
            self._manifest,
            len(self._names),
            self._findings,
            several=len(self._names) > 2  # noqa: PLR2004 - of two, both differ
            and self._table is not None
            and bool({*OF_IMAGES} & {*shown_statistics(self._table)}),
        )
        return dataclasses.replace(verdict, warnings=(*verdict.warnings, *self._noted))

    def _select(self, findings: Sequence[Finding]) -> Selection:
        classes = len(self._names)
        per_rule = next((size for most, size in _PER_RULE if classes <= most), None)
        if per_rule is None:
            per_rule = max(1, min(3, _COMPACT_EXEMPLARS // classes))
        return Selection(
            statistics=tuple(self._shown if self._detailed else self._shown[:1]),
            per_rule=per_rule,
            per_rule_of={finding.number: _OF_FINDINGS for finding in findings},
            whole_maps=self._detailed,
            longest=self._longest_map(),
            regions={
                finding.number: finding.region
                for finding in reversed(findings)  # of several places of a class the first counts
                if finding.region is not None
            },
            ids=frozenset(name for finding in findings for name in finding.ids),
            has_outcomes=self._has_accuracy,
        )

    def _longest_map(self) -> int | None:
        if not self._drawn.has_colours:
            return None
        return LONGEST_MAP if self._detailed else _COMPACT_MAP

    def _classes(self) -> Iterator[tuple[ClassView, str]]:
        """Each class with what opens below it, packed."""
        if self._table is None:
            return
        for view in class_views(self._table, self._maps, self._shown, self._names, self._drawn):
            shown = {"view": view, "opened": self._opened, "names": self._called}
            yield view, packed(fragment("opened.html", {**shown, "maps": self._drawn}))

    def _pictured(self, finding: Finding) -> Finding:
        """A finding with its class's mean map."""
        mean_map = self._maps.get(finding.number)
        if mean_map is None:
            return finding
        title = f"Mean map of {self._names[finding.number]}"
        picture, region = self._drawn.large(mean_map, title, finding.region)
        return dataclasses.replace(finding, picture=picture, region_words=region)

    def _with_exemplars(self, finding: Finding) -> Finding:
        """A finding with the examples that the audit names, else those that a rule chooses."""
        found = [self._chosen.by_id.get((finding.number, each)) for each in finding.ids]
        exemplars = [each for each in found if each is not None]
        if exemplars:
            words = "those that weigh most, by the audit"
            return dataclasses.replace(finding, exemplars=tuple(exemplars), rule=words)
        rules = self._chosen.by_rule.get(finding.number, {})
        wanted = highest(finding.statistic)
        if finding.region is not None:
            is_first = self._selection.regions.get(finding.number) == finding.region
            wanted = IN_PLACE if is_first else TYPICAL
        rule = wanted if wanted in rules else TYPICAL
        exemplars = list(rules.get(rule, ())[:_OF_FINDINGS])
        _, said = rule_in_words(rule, self._selection)
        return dataclasses.replace(finding, exemplars=tuple(exemplars), rule=said)


def _classes(atlas: Atlas) -> pa.Table | None:
    """The classes; None where the atlas is not finished, and has no table of them yet."""
    try:
        return atlas.classes
    except (ConfigurationError, FileNotFoundError):
        return None


def _failures(atlas: Atlas) -> pa.Table:
    try:
        return atlas.failures
    except (ConfigurationError, FileNotFoundError):
        return FAILURES_SCHEMA.empty_table()
