"""A certificate in sentences: its figures, and what they mean."""

from __future__ import annotations

from pipeline.certificate.result import Certificate, Ordering, Weights
from pipeline.compare.result import Estimate

_ALIKE = 0.5
"""Maps whose rank correlation stays above it have most of their order in common."""


def sentences(certificate: Certificate) -> list[tuple[str, str]]:
    """What was tried, in the order of trials, and what came of it.

    Args:
      certificate: Of a run.
    """
    found = [("explained again", _again(certificate))]
    if certificate.weights is not None:
        found.append(("weights drawn anew", _weights(certificate.weights)))
    if certificate.other_class is not None:
        found.append(("another class", _other_class(certificate.other_class)))
    for name, order, verb in (
        ("deletion", certificate.deletion, "taken away"),
        ("insertion", certificate.insertion, "put back"),
    ):
        if order is not None:
            found.append((name, _order(order, verb, certificate.score)))
    found += [("not tried", note) for note in certificate.notes]
    return found


def title(certificate: Certificate) -> str:
    """What it is of."""
    return f"What the maps say about the model, tried on {certificate.examples:,} examples"


def _again(certificate: Certificate) -> str:
    if certificate.identical == certificate.maps:
        return f"all {certificate.maps:,} maps are the same, to the byte"
    return (
        f"{certificate.identical:,} of {certificate.maps:,} maps are the same; the model or the "
        "device does not compute the same each time"
    )


def _weights(weights: Weights) -> str:
    last = weights.steps[-1]
    rise = weights.entropy_rise
    spread = "" if rise.value is None else f"; their entropy changes by {_percent(rise)}"
    meaning = _by_interval(
        last.similarity,
        _ALIKE,
        below="the maps depend on what the model has learned",
        above="the maps show little of what the model has learned",
    )
    return (
        f"with new weights in all {weights.layers:,} layers the maps' rank correlation with those "
        f"before is {_figures(last.similarity)}{spread}: {meaning}"
    )


def _other_class(similarity: Estimate) -> str:
    meaning = _by_interval(
        similarity,
        _ALIKE,
        below="the maps tell classes apart",
        above="the maps show little of which class is explained",
    )
    return (
        f"rank correlation with the map of the next likely class {_figures(similarity)}: {meaning}"
    )


def _order(order: Ordering, verb: str, score: str) -> str:
    if order.by_map is None or order.at_random is None:
        return f"undefined: the model has no finite {score} for examples without places"
    meaning = _by_interval(
        order.gain,
        0.0,
        above="the places that maps name matter more to it than others",
        below="the places that maps name matter less to it than others",
    )
    return (
        f"mean {score} {order.by_map:.3g} as the most salient places are {verb} first, "
        f"{order.at_random:.3g} in a random order; better by {_figures(order.gain)}: {meaning}"
    )


def _by_interval(estimate: Estimate, bound: float, *, below: str, above: str) -> str:
    """What an interval says that lies on one side of a bound; that it does not where it does not.

    >>> _by_interval(Estimate(value=0.2, low=0.1, high=0.3), 0.5, below="low", above="high")
    'low'
    """
    if estimate.low is None or estimate.high is None:
        return "undecided, of so few examples"
    if estimate.high < bound:
        return below
    return above if estimate.low > bound else "undecided"


def _figures(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2g}"
    return f"{estimate.value:.2g} ({estimate.low:.2g} to {estimate.high:.2g})"


def _percent(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.0%}"
    return f"{estimate.value:+.0%} ({estimate.low:+.0%} to {estimate.high:+.0%})"
