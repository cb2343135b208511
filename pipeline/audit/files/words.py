"""How comparisons are called and told in every file of an audit."""

from __future__ import annotations

from pipeline.audit.result import Comparison, Threshold


def group_name(comparison: Comparison) -> str:
    """The class and its part, in words.

    Class names and values come from data; who writes them into a file escapes them for it.
    """
    if comparison.class_number is None:
        return "the whole atlas"
    name = comparison.class_name
    named = str(comparison.class_number) if name is None else name
    if not named.strip():
        named = f"class {comparison.class_number} (its name is empty)"
    if comparison.slice is None:
        return named
    value = "null" if comparison.slice_value is None else comparison.slice_value
    return f"{named}, {comparison.slice} {value}"


def describe_threshold(threshold: Threshold) -> str:
    """Where the figure has to lie.

    >>> describe_threshold(Threshold(low=None, high=0.55, of="value"))
    'below 0.55'
    """
    where = _where(threshold)
    return f"change {where}" if threshold.of == "change" else where


def _where(threshold: Threshold) -> str:
    """The bounds as the configuration gives them, with all of their digits."""
    low, high = (None if end is None else f"{end:.15g}" for end in (threshold.low, threshold.high))
    if low is None:
        return f"below {high}"
    return f"above {low}" if high is None else f"between {low} and {high}"


def describe_figure(comparison: Comparison) -> str:
    """What was judged, with its interval and n."""
    figure = comparison.value if comparison.threshold.of == "value" else comparison.change
    interval = ""
    if comparison.low is not None and comparison.high is not None:
        interval = f" ({number(comparison.low)} to {number(comparison.high)})"
    return f"{number(figure)}{interval}, n = {comparison.n:,}"


def number(value: float | None) -> str:
    """A number as people read it.

    >>> number(0.123456), number(None)
    ('0.1235', 'undefined')
    """
    return "undefined" if value is None else f"{value:.4g}"


def sentence(comparison: Comparison) -> str:
    """All that matters of a comparison, in one line."""
    is_change = comparison.threshold.of == "change"
    verb, subject = ("changed by", "the change") if is_change else ("is", "it")
    said = (
        f"{group_name(comparison)}: {comparison.statistic} {verb} {describe_figure(comparison)}; "
        f"{subject} has to be {_where(comparison.threshold)}"
    )
    return f"{said} ({comparison.note})" if comparison.note else said
