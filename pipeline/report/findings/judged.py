"""What an audit that stands beside the atlas says: the verdict, and a card per failure."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic
from markupsafe import Markup

from pipeline.atlas import Atlas
from pipeline.audit.files.markdown import proposals_sentence
from pipeline.audit.result import AuditResult, Comparison, Threshold
from pipeline.plain_text import plain
from pipeline.report import wording
from pipeline.report.classes.views import statistic_dot
from pipeline.report.drawing import charts
from pipeline.report.findings.finding import MOST_CARDS, Finding, card
from pipeline.report.findings.shortcuts import shortcut_card
from pipeline.report.findings.verdict import Verdict, warnings

AUDIT_FILE = "audit/audit.json"
_KIND = re.compile(r"_(mean|q\d\d)$")


def read_audit(atlas: Atlas) -> tuple[AuditResult | None, tuple[Markup, ...]]:
    """The audit in the atlas's folder, and what to warn of.

    Args:
      atlas: The atlas.

    Returns:
      None where there is none, or none that is about this atlas.
    """
    data = atlas.read_file(AUDIT_FILE)
    if data is None:
        return None, ()
    try:
        result = AuditResult.from_json(data)
    except pydantic.ValidationError:
        return None, (
            Markup("The audit beside this atlas is damaged, or of another version: not shown."),
        )
    if result.atlas_fingerprint != atlas.manifest["fingerprint"]:
        return None, (
            Markup("The audit beside this atlas is of another one, and not shown: audit it again."),
        )
    if _is_older(result, atlas.manifest):
        return result, (
            Markup(
                "The audit is older than the atlas's last run, and judges what was there then: if "
                "examples have come since, audit it again."
            ),
        )
    return result, ()


def _is_older(result: AuditResult, manifest: Mapping[str, Any]) -> bool:
    """Whether a run has ended since an audit was made, which is known to the second."""
    if "finished" not in manifest:
        return False
    made, finished = (
        datetime.datetime.fromisoformat(each).replace(microsecond=0)
        for each in (result.made, manifest["finished"])
    )
    return made < finished


def audited_statistics(result: AuditResult | None) -> list[str]:
    """The statistics of maps that gates are about, those that fail first."""
    gates = sorted(result.gates if result else (), key=lambda each: each.verdict != "fail")
    return [_stem(each.statistic) for each in gates if _KIND.search(each.statistic)]


def looked_into(result: AuditResult | None) -> list[tuple[str, str]]:
    """A name and a value: what was tried on the model beside what stands out; none if nothing."""
    said = None if result is None else proposals_sentence(result)
    return [] if said is None else [("Shortcuts", said)]


def audited_verdict(
    result: AuditResult,
    manifest: Mapping[str, Any],
    findings: Sequence[Finding],
    noted: Sequence[Markup],
) -> Verdict:
    """The verdict of an audit, as a sentence or two.

    Args:
      result: The audit.
      manifest: The atlas's.
      findings: Its failures, the worst first.
      noted: What to warn of besides.
    """
    limits = (*warnings(manifest), *noted)
    if not result.gates:
        headline = Markup("The audit has no gates: this page describes, it does not judge.")
        return Verdict("note", headline, Markup(""), limits)
    said = {"pass": _passing, "fail": _failing, "undecided": _undecided}[result.verdict]
    headline, because = said(result, findings[0].statement if findings else Markup(""))
    return Verdict(result.verdict, headline, because, limits)


def _failing(result: AuditResult, finding: Markup) -> tuple[Markup, Markup]:
    """What fails, and since when; or that too much is undecided."""
    failing = [each for each in result.gates if each.counts_as_failure]
    if not failing:  # then `audit.undecided` is `fail`
        headline, because = _undecided(result, finding)
        return headline, because + Markup(" The configuration makes that a failure.")
    gates, failed = ({each.gate for each in found} for found in (result.gates, failing))
    headline = Markup("{} of {} {}.").format(
        f"{len(failed):,}",
        wording.count(len(gates), "gate"),
        "fails" if len(failed) == 1 else "fail",
    )
    if result.previous is None:
        return headline, finding
    new = sum(each.status == "new" for each in failing)
    since = f"{new:,} new" if new else "Nothing is new"
    return headline, finding + Markup(" {} since the previous audit.").format(since)


def _undecided(result: AuditResult, finding: Markup) -> tuple[Markup, Markup]:
    """How much cannot be judged, and why."""
    del finding  # it is below; here it would stand for a reason
    undecided = [each for each in result.gates if each.verdict == "undecided"]
    headline = Markup("Undecided: {} cannot be judged.").format(
        wording.count(len(undecided), "comparison")
    )
    sides = ((each.n, each.n if each.baseline_n is None else each.baseline_n) for each in undecided)
    few = sum(min(each) < result.min_n for each in sides)
    because = Markup("")
    if few:
        because = Markup("{} fewer than {} examples.").format(
            "One has" if few == 1 else f"{few:,} have", f"{result.min_n:,}"
        )
    return headline, because


def _passing(result: AuditResult, finding: Markup) -> tuple[Markup, Markup]:
    """What holds, and of how many classes; or what does not, without counting as a failure."""
    counts = collections.Counter(each.verdict for each in result.gates)
    if counts["fail"]:
        headline = Markup("Nothing fails that counts.")
        because = Markup("{} below {} waived or only {}.").format(
            wording.count(counts["fail"], "failure"),
            "is" if counts["fail"] == 1 else "are",
            "warns" if counts["fail"] == 1 else "warn",
        )
    elif counts["undecided"]:
        headline = Markup("Nothing fails.")
        because = Markup("{} cannot be judged, of gates that only warn.").format(
            wording.count(counts["undecided"], "comparison")
        )
    else:
        gates = len({each.gate for each in result.gates})
        classes = len({each.class_number for each in result.gates} - {None})
        headline = Markup("{}{}.").format(
            "The gate holds" if gates == 1 else f"All {gates:,} gates hold",
            f" in {wording.count(classes, 'class', 'classes')}" if classes else "",
        )
        because = finding or Markup("Nothing needs a look.")
    return headline, because


def failures(result: AuditResult, names: Mapping[int, str]) -> list[Finding]:
    """Cards: shortcuts that are used, failures by how far they are off, then untried shortcuts.

    Args:
      result: The audit.
      names: Of the classes.
    """
    failing = [each for each in result.gates if each.verdict == "fail"]
    failing.sort(key=lambda each: (not each.counts_as_failure, -_distance(each)))
    found = [each for each in result.shortcuts if each.verdict != "cleared"]
    found.sort(key=lambda each: (_KINDS.index(each.indicator), -each.effect))
    used = [shortcut_card(each, names) for each in found if each.is_used]
    others = [shortcut_card(each, names) for each in found if not each.is_used]
    judged = [_card(each, names) for each in failing[:MOST_CARDS]]
    return [*used[:MOST_CARDS], *judged, *others[:MOST_CARDS]]


_KINDS = ("place", "repeat", "property")
"""Effects of one kind compare; what has a place is easiest to look at."""


def _distance(comparison: Comparison) -> float:
    """How far a figure is beyond its threshold, in thresholds."""
    found = _judged(comparison)
    bounds = comparison.threshold
    if found is None:
        return 0.0
    bound = bounds.high if bounds.high is not None and found >= bounds.high else bounds.low
    return 0.0 if bound is None else abs(found - bound) / max(abs(bound), 1e-9)


def _judged(comparison: Comparison) -> float | None:
    return comparison.change if comparison.threshold.of == "change" else comparison.value


def _card(comparison: Comparison, names: Mapping[int, str]) -> Finding:
    number = -1 if comparison.class_number is None else comparison.class_number
    who = names.get(number, "the whole atlas")
    if comparison.slice is not None:
        value = "none" if comparison.slice_value is None else comparison.slice_value
        who = f"{who}, {comparison.slice} {value}"
    bounds = comparison.threshold
    values = (_judged(comparison), bounds.low, bounds.high)
    more = wording.digits_to_tell_apart(comparison.statistic, values)

    def figure(value: float | None) -> str:
        return wording.figure(comparison.statistic, value, more)

    found, has_to_be = figure(_judged(comparison)), _in_words(bounds, figure)
    statement = Markup(
        "<em><bdi>{}</bdi></em> fails \u201c<bdi>{}</bdi>\u201d: {} {}; it has to be {}."
    ).format(plain(who), plain(comparison.gate), _of(comparison), found, has_to_be)
    low, high = comparison.low, comparison.high
    interval = "" if low is None else f", {figure(low)} to {figure(high)}"
    facts = [
        (_of(comparison), found + interval),
        ("has to be", has_to_be),
        ("examples", f"{comparison.n:,}"),
    ]
    if comparison.baseline_value is not None:
        facts.append(("in the baseline", figure(comparison.baseline_value)))
    if comparison.status is not None:
        facts.append(("since the previous audit", comparison.status))
    if comparison.waived_until is not None:
        facts.append(("waived until", f"{comparison.waived_until}: {comparison.reason}"))
    if comparison.note:
        facts.append(("note", comparison.note))
    stem = _stem(comparison.statistic)
    drawing = charts.interval_dot(statistic_dot(stem, comparison.value, low, high))
    found_card = card(
        number=number,
        statistic=stem,
        state="fail" if comparison.counts_as_failure else "undecided",
        status=comparison.status or "",
        statement=statement,
        facts=facts,
        drawing=drawing if comparison.threshold.of == "value" else Markup(""),
    )
    return dataclasses.replace(found_card, ids=tuple(comparison.examples))


def _of(comparison: Comparison) -> str:
    name = wording.statistic_name(comparison.statistic)
    return f"change of {name}" if comparison.threshold.of == "change" else name


def _in_words(bounds: Threshold, figure: Callable[[float | None], str]) -> str:
    low, high = figure(bounds.low), figure(bounds.high)
    if bounds.low is None:
        return f"below {high}"
    return f"above {low}" if bounds.high is None else f"between {low} and {high}"


def _stem(name: str) -> str:
    return _KIND.sub("", name)
