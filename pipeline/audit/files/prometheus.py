"""Prometheus's text format: for a node exporter's textfile collector, or a push gateway."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterable, Iterator

from pipeline.audit.result import AuditResult, Comparison, Verdict

MOST_SERIES = 1_000
"""Comparisons of a gate of which each has series of its own; of more, there are counts only."""

_PREFIX = "saliency_atlas_audit"
_VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "undecided")


def prometheus_text(result: AuditResult) -> bytes:
    """Gauges of the audit, of each gate, and of comparisons where a gate has not too many."""
    return ("\n".join(_lines(result)) + "\n").encode(errors="backslashreplace")


def _lines(result: AuditResult) -> Iterator[str]:
    atlas = {"atlas": result.atlas}
    yield from _family(
        "verdict",
        "1 for what the audit came to, 0 for what it did not.",
        ({**atlas, "verdict": each} for each in _VERDICTS),
        (int(each == result.verdict) for each in _VERDICTS),
    )
    made = datetime.datetime.fromisoformat(result.made).timestamp()
    yield from _family("timestamp_seconds", "When the audit was made.", [atlas], [made])
    gates = dict.fromkeys(each.gate for each in result.gates)
    counts = collections.Counter((each.gate, each.verdict) for each in result.gates)
    yield from _family(
        "comparisons",
        "Comparisons of a gate by verdict.",
        ({**atlas, "gate": gate, "verdict": verdict} for gate in gates for verdict in _VERDICTS),
        (counts[gate, verdict] for gate in gates for verdict in _VERDICTS),
    )
    failing = collections.Counter(each.gate for each in result.gates if each.counts_as_failure)
    yield from _family(
        "failing",
        "Comparisons of a gate that fail the audit: no warnings, none that is waived.",
        ({**atlas, "gate": gate} for gate in gates),
        (failing[gate] for gate in gates),
    )
    per_gate = collections.Counter(each.gate for each in result.gates)
    few = [each for each in result.gates if per_gate[each.gate] <= MOST_SERIES]
    for name, meaning in (
        ("value", "What is judged: the statistic, or its change from the baseline."),
        ("low", "The lower end of its interval."),
        ("high", "The upper end of its interval."),
    ):
        known = [(each, figure) for each in few if (figure := _figure(each, name)) is not None]
        yield from _family(
            name,
            meaning,
            ({**atlas, **_labels(each)} for each, _ in known),
            (figure for _, figure in known),
        )


def _figure(comparison: Comparison, name: str) -> float | None:
    if name == "value" and comparison.threshold.of == "change":
        return comparison.change
    figure: float | None = getattr(comparison, name)
    return figure


def _labels(comparison: Comparison) -> dict[str, str]:
    """What tells a comparison from others; a label that is empty is one that is not there."""
    number = comparison.class_number
    found = {"gate": comparison.gate}
    if number is not None:
        name = comparison.class_name
        found |= {"class": str(number), "class_name": "" if name is None else name}
    if comparison.slice is not None:
        value = comparison.slice_value
        found |= {
            "slice": comparison.slice,
            "slice_value": "" if value is None else value,
            "slice_value_is_null": "1" if value is None else "0",
        }
    return found


def _family(
    name: str, meaning: str, labels: Iterable[dict[str, str]], values: Iterable[float]
) -> Iterator[str]:
    yield f"# HELP {_PREFIX}_{name} {meaning}"
    yield f"# TYPE {_PREFIX}_{name} gauge"
    for each, value in zip(labels, values, strict=True):
        said = ",".join(f'{label}="{_escaped(text)}"' for label, text in each.items())
        yield f"{_PREFIX}_{name}{{{said}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
