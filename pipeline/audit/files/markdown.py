"""A summary in Markdown, for a pull request or a chat."""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterator, Sequence

from pipeline.audit.files.words import describe_figure, describe_threshold, group_name
from pipeline.audit.result import AuditResult, Comparison
from pipeline.audit.shortcuts.gate import class_title, describe
from pipeline.audit.shortcuts.scores import FEWEST_CLASSES
from pipeline.audit.shortcuts.shortcut import Outcome
from pipeline.plain_text import plain

_SHOWN = 50  # rows of a table; the rest is in audit.json
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&@])")


def summary_markdown(result: AuditResult) -> bytes:
    """The verdict in a sentence, the gates in a table, and what needs a look."""
    return ("\n".join(_lines(result)) + "\n").encode(errors="backslashreplace")


def _lines(result: AuditResult) -> Iterator[str]:
    yield f"## Audit: {result.verdict}"
    yield ""
    yield f"{verdict_sentence(result)}"
    yield ""
    against = f", against {_escaped(result.baseline)}" if result.baseline else ""
    yield f"Atlas {_escaped(result.atlas)}{against}; {result.made}."
    for said in sample_sentences(result):
        yield ""
        yield said
    yield ""
    yield "| gate | has to be | pass | fail | undecided | waived |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for gate, group in itertools.groupby(result.gates, key=lambda each: each.gate):
        found = list(group)
        first = found[0]
        name = _escaped(gate) + (" (warns)" if first.severity == "warn" else "")
        where = f"{_escaped(first.statistic)} {describe_threshold(first.threshold)}"
        counts = [sum(each.verdict == verdict for each in found) for verdict in _VERDICTS]
        waived = sum(each.waived_until is not None for each in found)
        yield f"| {name} | {where} | {' | '.join(map(str, (*counts, waived)))} |"
    failed = [each for each in result.gates if each.verdict == "fail"]
    yield from _table("Failures", failed)
    yield from _table("Resolved", [each for each in result.gates if each.status == "resolved"])
    yield from _table("Undecided", [each for each in result.gates if each.verdict == "undecided"])
    yield from _shortcuts(result)


_VERDICTS = ("pass", "fail", "undecided")


def verdict_sentence(result: AuditResult) -> str:
    """What an audit came to, in a sentence made of its figures.

    Says of one that passes how much it holds for, else what is wrong.
    """
    gates = _count(len({each.gate for each in result.gates}), "gate")
    comparisons = _count(len(result.gates), "comparison")
    failing = [each for each in result.gates if each.counts_as_failure]
    undecided = sum(each.verdict == "undecided" for each in result.gates)
    accepted = sum(each.verdict == "fail" for each in result.gates) - len(failing)
    if failing:
        names = len({each.gate for each in failing})
        verb = "fails" if names == 1 else "fail"
        said = f"{names} of {gates} {verb}, in {len(failing):,} of {comparisons}"
        if result.previous is not None:
            new = sum(each.status == "new" for each in failing)
            said += f"; {new:,} new since {result.previous}"
    elif undecided:
        verb = "is" if undecided == 1 else "are"
        nothing = "Nothing fails that counts" if accepted else "Nothing fails"
        said = f"{nothing}; {undecided:,} of {comparisons} {verb} undecided"
        if result.verdict == "fail":
            said += ", which fails the audit (audit.undecided is fail)"
    elif accepted:
        verb = "is waived or only warns" if accepted == 1 else "are waived or only warn"
        said = f"Nothing fails that counts; {accepted:,} of {comparisons} {verb}"
    else:
        said = f"{gates} passed in {comparisons}"
    return f"{said}."


def sample_sentences(result: AuditResult) -> Iterator[str]:
    """Of which sample the atlas is, and the baseline; nothing where they are of all examples."""
    for role, sample in (("atlas", result.sample), ("baseline", result.baseline_sample)):
        if sample is not None:
            yield f"The {role} is of a sample: {sample}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _shortcuts(result: AuditResult) -> Iterator[str]:
    said = [each for each in (proposals_sentence(result), reference_sentence(result)) if each]
    if result.shortcuts or said:
        yield ""
        yield "### Shortcuts"
        yield ""
    for each in result.shortcuts[:_SHOWN]:
        yield f"- {_escaped(class_title(each))}: {_escaped(describe(each))}."
    if len(result.shortcuts) > _SHOWN:
        yield f"- {len(result.shortcuts) - _SHOWN:,} more are in audit.json."
    yield from (f"- {each}" for each in said)


def proposals_sentence(result: AuditResult) -> str | None:
    """What came of proposals; None where the model was not asked."""
    if result.proposals is None:
        return None
    if not result.proposals:
        return (
            "Beside what stands out nothing was looked into with the model: no class has maps "
            "enough (audit.min_n, in the half that candidates are found in), or there is one class "
            "alone."
        )
    outcomes = collections.Counter(each.outcome for each in result.proposals)
    classes = len({each.class_number for each in result.proposals})
    of_classes = "1 class" if classes == 1 else f"{classes:,} classes"
    came_of = ", ".join(
        f"{outcomes[outcome]:,} {said}" for outcome, said in _CAME_OF.items() if outcomes[outcome]
    )
    return (
        f"{len(result.proposals):,} places, peaks and properties of {of_classes} that do not stand "
        f"out were looked into with the model: {came_of}. audit.json has each (proposals)."
    )


_CAME_OF: dict[Outcome, str] = {
    "told": "told",
    "unconvincing": "tried without convincing",
    "untried": "that cannot be tried",
    "passed_over": "passed over, as masking a few images takes too little",
    "unknown": "passed over, as too few images are recognised or maps are too small",
    "needless": "of what is known already",
}
"""The outcomes of proposals in words, as a number of them is followed."""


def reference_sentence(result: AuditResult) -> str | None:
    """What q values are made by, or why there are none; None where no reference is named."""
    reference = result.reference
    if reference is None:
        return None
    if not reference.needed:
        return (
            f"No q values: with under {FEWEST_CLASSES} classes a class has too few others to stand "
            "out from."
        )
    if reference.classes < reference.needed:
        # An older atlas has fewer indicators, so that of others there may be classes enough.
        some = any(each.q is not None for each in result.shortcuts)
        return (
            f"{'Not all' if some else 'No'} q values: audit.reference has {reference.classes:,} "
            f"classes with maps enough, and it takes {reference.needed:,}."
        )
    count = len(reference.atlases)
    named = f"{count:,} {'atlas' if count == 1 else 'atlases'} of audit.reference"
    return f"q values are by ranks among the {reference.classes:,} classes of the {named}."


def _table(title: str, comparisons: Sequence[Comparison]) -> Iterator[str]:
    if not comparisons:
        return
    yield ""
    yield f"### {title}"
    yield ""
    yield "| gate | where | figure | has to be | |"
    yield "| --- | --- | --- | --- | --- |"
    for each in comparisons[:_SHOWN]:
        changed = " changed by" if each.threshold.of == "change" else ""
        cells = (
            _escaped(each.gate),
            _escaped(group_name(each)),
            f"{_escaped(each.statistic)}{changed} {describe_figure(each)}",
            describe_threshold(each.threshold),
            _escaped(_remark(each)),
        )
        yield f"| {' | '.join(cells)} |"
    if len(comparisons) > _SHOWN:
        yield ""
        yield f"{len(comparisons) - _SHOWN:,} more are in audit.json."


def _remark(comparison: Comparison) -> str:
    waived = comparison.waived_until
    said = [
        comparison.status if comparison.status != "resolved" else None,
        "only warns" if comparison.severity == "warn" and comparison.verdict == "fail" else None,
        f"waived until {waived}: {comparison.reason}" if waived else None,
        comparison.note,
    ]
    return "; ".join(each for each in said if each)


def _escaped(text: str) -> str:
    """Text from data as Markdown shows it: on one line, nothing in it a mark or a mention."""
    return _SPECIAL.sub(r"\\\1", plain(text).replace("\n", " "))
