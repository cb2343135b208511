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
    if comparison.slice is None:
        return named
    value = "null" if comparison.slice_value is None else comparison.slice_value
    return f"{named}, {comparison.slice} {value}"


def describe_threshold(threshold: Threshold) -> str:
    """Where the figure has to lie.

    >>> describe_threshold(Threshold(low=None, high=0.55, of="value"))
    'below 0.55'
    """
    low, high = threshold.low, threshold.high
    if low is None:
        where = f"below {number(high)}"
    elif high is None:
        where = f"above {number(low)}"
    else:
        where = f"between {number(low)} and {number(high)}"
    return f"change {where}" if threshold.of == "change" else where


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
    said = (
        f"{group_name(comparison)}: {comparison.statistic} is {describe_figure(comparison)}; "
        f"it has to be {describe_threshold(comparison.threshold)}"
    )
    return f"{said} ({comparison.note})" if comparison.note else said
