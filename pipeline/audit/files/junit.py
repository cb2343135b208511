"""JUnit's XML: what continuous integration shows of an audit."""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from pipeline.audit.files.words import group_name, sentence
from pipeline.audit.result import AuditResult, Comparison

# What XML 1.0 cannot hold, not even escaped: most control characters, halves of surrogate pairs.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: AuditResult) -> bytes:
    """A suite per gate and a case per comparison.

    Undecided ones are skipped, and so are failures that are waived or only warn, each with its
    reason.
    """
    suites = [
        (gate, list(found))
        for gate, found in itertools.groupby(result.gates, key=lambda each: each.gate)
    ]
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    lines.append(f'<testsuites name="saliency-atlas audit" {_counts(result.gates)}>')
    for gate, comparisons in suites:
        lines.append(
            f"  <testsuite name={_attribute(gate)} timestamp={_attribute(result.made)} "
            f"{_counts(comparisons)}>"
        )
        names = _case_names(comparisons)
        lines += (line for pair in zip(names, comparisons, strict=True) for line in _case(*pair))
        lines.append("  </testsuite>")
    lines.append("</testsuites>")
    return ("\n".join(lines) + "\n").encode()


def _case_names(comparisons: Sequence[Comparison]) -> list[str]:
    """A name for each case of a suite, as readers take cases of one name for one.

    Of classes that share a name, as two of ImageNet's cranes do, it ends in their numbers.
    """
    names = [group_name(each) for each in comparisons]
    times = collections.Counter(names)
    return [
        name if times[name] == 1 else f"{name} (class {each.class_number})"
        for name, each in zip(names, comparisons, strict=True)
    ]


def _case(name: str, comparison: Comparison) -> Iterator[str]:
    suite = _attribute(comparison.gate)
    named = f"    <testcase classname={suite} name={_attribute(name)}"
    if comparison.verdict == "pass":
        yield f"{named}/>"
        return
    yield f"{named}>"
    said = sentence(comparison)
    if comparison.counts_as_failure:
        examples = "".join(f"\n{name}" for name in comparison.examples)
        text = f"examples that weigh most:{examples}" if examples else ""
        yield f'      <failure type="gate" message={_attribute(said)}>{_text(text)}</failure>'
    else:
        why = _why_skipped(comparison)
        yield f"      <skipped message={_attribute(f'{why}: {said}')}/>"
    yield "    </testcase>"


def _why_skipped(comparison: Comparison) -> str:
    if comparison.verdict == "undecided":
        return "undecided"
    if comparison.waived_until is not None:
        return f"waived until {comparison.waived_until}, {comparison.reason}"
    return "fails, and only warns"


def _counts(comparisons: list[Comparison]) -> str:
    failures = sum(each.counts_as_failure for each in comparisons)
    skipped = sum(each.verdict != "pass" for each in comparisons) - failures
    return f'tests="{len(comparisons)}" failures="{failures}" errors="0" skipped="{skipped}"'


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text))


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))
