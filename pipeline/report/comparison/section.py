"""What the page says of an atlas beside its baseline."""

from __future__ import annotations

import dataclasses
import json

from markupsafe import Markup

from pipeline.atlas import Atlas
from pipeline.compare.compare import compare
from pipeline.compare.relation import relate
from pipeline.compare.result import (
    AtlasComparison,
    ClassPair,
    Estimate,
    GroupChange,
    JoinedExamples,
)
from pipeline.report import wording
from pipeline.report.classes.views import mean_maps, named
from pipeline.report.comparison.changes import ClassChange, Facts, MeanMaps
from pipeline.report.comparison.examples import BothMaps, read_both
from pipeline.report.drawing.maps import Maps
from transforms.errors import ConfigurationError, RunError

SHOWN_CLASSES = 6
"""Classes that are open at once; those after them open when they are asked for."""

_MOST_CLASSES = 60
_EXAMPLES = 12
_FLIPS = 8
_EFFECTS = 3
_LEAST_DRIFT = 0.001  # bits
_POINTS = 100  # of a share, in percentage points


@dataclasses.dataclass(frozen=True)
class Flip:
    """A prediction that became another one, and how often."""

    before: str
    now: str
    count: int


@dataclasses.dataclass(frozen=True)
class ComparisonSection:
    """What the section says.

    Attributes:
      baseline: The baseline's name.
      problem: Why the two do not compare; empty where they do.
      since: What changed, as the verdict says it.
      sentence: What the two are to each other.
      rule: How classes are ordered.
      facts: Figures of all examples.
      differences: Keys that differ, with their values.
      classes: Those that moved most, first.
      classes_left: How many there are beside them.
      flips: The commonest.
      examples: Those that moved most, first.
    """

    baseline: str
    problem: str
    since: Markup
    sentence: str = ""
    rule: str = ""
    facts: Facts = ()
    differences: Facts = ()
    classes: tuple[ClassChange, ...] = ()
    classes_left: int = 0
    flips: tuple[Flip, ...] = ()
    examples: tuple[BothMaps, ...] = ()


def compare_with(atlas: Atlas, baseline: Atlas, drawn: Maps) -> ComparisonSection:
    """Compares an atlas with its baseline; examples are met block by block, in flat memory.

    Args:
      atlas: What the page is about.
      baseline: What it is held against. Where they do not compare, the section says why.
      drawn: How maps are drawn.
    """
    name = baseline.path.rstrip("/").rpartition("/")[2]
    try:
        found = compare(relate(baseline, atlas))
    except (ConfigurationError, RunError) as error:
        since = Markup(
            'It does not compare with the baseline <bdi>{}</bdi>: <a href="#compared">why</a>.'
        ).format(name)
        return ComparisonSection(name, str(error), since)
    maps = MeanMaps(mean_maps(baseline.classes), mean_maps(atlas.classes), drawn)
    section = ComparisonSection(
        name,
        "",
        Markup(""),
        sentence=found.sentence,
        differences=tuple(
            (each.key, f"{_unquoted(each.first)}, now {_unquoted(each.second)}")
            for each in found.differences
        ),
    )
    if found.joined is not None:
        section = _of_joined(section, found, found.joined, maps, (baseline, atlas))
    else:
        section = _of_distributions(section, found, maps)
    sample = found.first.sample  # the verdict says which one this atlas is of
    of_sample = () if sample is None else (("sample of the baseline", str(sample)),)
    return dataclasses.replace(section, facts=(*section.facts, *of_sample))


def _of_joined(
    section: ComparisonSection,
    found: AtlasComparison,
    joined: JoinedExamples,
    maps: MeanMaps,
    atlases: tuple[Atlas, Atlas],
) -> ComparisonSection:
    classes = [
        maps.change(each.class_number, each.class_name, _joined_facts(each))
        for each in joined.classes[:_MOST_CLASSES]
    ]
    names = {each.class_number: each.class_name for each in joined.classes}
    flips = [
        Flip(
            named(each.first, each.first_name or names.get(each.first)),
            named(each.second, each.second_name or names.get(each.second)),
            each.n,
        )
        for each in joined.flips[:_FLIPS]
    ]
    return dataclasses.replace(
        section,
        since=_since_joined(section.baseline, found, joined),
        rule="The class whose maps are least alike comes first.",
        facts=(
            ("examples in both", f"{joined.examples:,}"),
            *_missing(joined),
            ("order of pixels kept", _estimate(joined.spearman.mean)),
            ("strongest tenth kept", _share(joined.top_decile_overlap.mean, joined.pairs)),
            *_predictions(joined),
        ),
        classes=tuple(classes),
        classes_left=len(joined.classes) - len(classes),
        flips=tuple(flips),
        examples=tuple(read_both(*atlases, joined.moved[:_EXAMPLES], maps.drawn)),
    )


def _of_distributions(
    section: ComparisonSection,
    found: AtlasComparison,
    maps: MeanMaps,
) -> ComparisonSection:
    distributions = found.distributions
    groups = [] if distributions is None else distributions.classes
    classes = [
        maps.change(each.class_number, each.class_name, _group_facts(each))
        for each in groups[:_MOST_CLASSES]
    ]
    since = Markup("")
    if groups:
        most = groups[0]
        since = Markup(
            "Against the baseline <bdi>{}</bdi> ({}) no class's mean map has drifted measurably."
        ).format(section.baseline, found.sentence)
        if most.drift.low:
            since = Markup(
                "Against the baseline <bdi>{}</bdi> ({}) maps moved most in "
                "<em><bdi>{}</bdi></em>: a drift of {}."
            ).format(
                section.baseline,
                found.sentence,
                named(most.class_number, most.class_name),
                _drift(most.drift),
            )
    examples = found.first.examples, found.second.examples
    return dataclasses.replace(
        section,
        since=since,
        rule="The class whose mean map drifted most comes first.",
        facts=(("examples", f"{examples[0]:,} in the baseline, now {examples[1]:,}"),),
        classes=tuple(classes),
        classes_left=len(groups) - len(classes),
    )


def _joined_facts(group: ClassPair) -> Facts:
    facts = [
        ("maps", f"{group.pairs:,}"),
        ("order of pixels kept", _estimate(group.spearman.mean)),
    ]
    if group.drift is not None:
        facts.append(("drift of the mean map", _drift(group.drift)))
    predictions = group.predictions
    if predictions.n:
        facts.append(("predictions changed", _share(predictions.flip_share, predictions.n)))
    facts += _accuracy(
        predictions.accuracy_first,
        predictions.accuracy_second,
        predictions.accuracy_change,
        predictions.n,
    )
    return tuple(facts)


def _group_facts(group: GroupChange) -> Facts:
    facts = [
        ("maps", f"{group.n_first:,}, now {group.n_second:,}"),
        ("drift of the mean map", _drift(group.drift)),
        *_accuracy(
            group.accuracy_first,
            group.accuracy_second,
            group.accuracy_change,
            min(group.n_first, group.n_second),
        ),
    ]
    known = [each for each in group.statistics if each.effect.value is not None]
    known.sort(key=lambda each: -abs(each.effect.value or 0.0))
    for each in known[:_EFFECTS]:
        values = (wording.figure(each.statistic, side) for side in (each.first, each.second))
        facts.append(
            (
                wording.statistic_name(each.statistic),
                f"{', now '.join(values)} (effect {_signed(each.effect)})",
            )
        )
    return tuple(facts)


def _missing(joined: JoinedExamples) -> Facts:
    counts = (
        ("in the baseline alone", joined.only_first),
        ("new here", joined.only_second),
        ("with another label", joined.relabelled),
        ("maps without a partner", joined.other_class_first + joined.other_class_second),
        ("pairs with a map that is the same everywhere", joined.undefined),
    )
    return tuple((name, f"{count:,}") for name, count in counts if count)


def _predictions(joined: JoinedExamples) -> Facts:
    predictions = joined.predictions
    if not predictions.n:
        return ()
    return (
        ("predictions changed", _share(predictions.flip_share, predictions.n)),
        *_accuracy(
            predictions.accuracy_first,
            predictions.accuracy_second,
            predictions.accuracy_change,
            predictions.n,
        ),
    )


def _accuracy(first: float | None, second: float | None, change: Estimate, n: int) -> Facts:
    if first is None or second is None:
        return ()
    shares = f"{wording.percent(first, n)}, now {wording.percent(second, n)}"
    return (("accuracy", f"{shares} ({_points(change)})"),)


def _since_joined(name: str, found: AtlasComparison, joined: JoinedExamples) -> Markup:
    predictions = joined.predictions
    if joined.spearman.mean.value == 1 and not predictions.flips and not joined.undefined:
        return Markup("Since the baseline <bdi>{}</bdi> no map and no prediction moved.").format(
            name
        )
    said = [Markup("Since the baseline <bdi>{}</bdi> ({})").format(name, found.sentence)]
    if predictions.n:
        flipped = wording.percent(predictions.flip_share.value, predictions.n)
        said.append(Markup("{} of the predictions changed").format(flipped))
    if predictions.accuracy_first is not None:
        shares = (predictions.accuracy_first, predictions.accuracy_second)
        texts = [wording.percent(each, predictions.n) for each in shares]
        said.append(
            Markup("accuracy went from {} to {} ({})").format(
                *texts, _points(predictions.accuracy_change)
            )
        )
    if joined.undefined:
        count = wording.count(joined.undefined, "pair")
        said.append(Markup("{} of maps cannot be compared").format(count))
    most = joined.classes[0] if joined.classes else None
    if most is not None and most.spearman.mean.value not in (None, 1):
        said.append(
            Markup("maps moved most in <em><bdi>{}</bdi></em>").format(
                named(most.class_number, most.class_name)
            )
        )
    return Markup(": ").join([said[0], Markup(", ").join(said[1:])]) + "."


def _estimate(found: Estimate) -> str:
    if found.value is None:
        return wording.NO_VALUE
    ends = (found.low, found.high)
    text = f"{found.value:.2f}"
    return text if None in ends else f"{text} ({found.low:.2f} to {found.high:.2f})"


def _share(found: Estimate, n: int) -> str:
    if found.value is None:
        return wording.NO_VALUE
    low, high = (wording.percent(each, n) for each in (found.low, found.high))
    return f"{wording.percent(found.value, n)} ({low} to {high})"


def _signed(found: Estimate) -> str:
    figures = [each for each in (found.value, found.low, found.high) if each is not None]
    value, *around = (f"{each:+.1f}".replace("-", "\u2212") for each in figures)
    return f"{value}, {' to '.join(around)}" if around else value


def _points(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return wording.NO_VALUE
    ends = (f"{_POINTS * each:+.1f}".replace("-", "\u2212") for each in (change.low, change.high))
    return f"{' to '.join(ends)} points"


def _drift(found: Estimate) -> str:
    """A drift with its interval; less the bias of few examples, it may lie below 0."""
    ends = [max(each, 0.0) for each in (found.value, found.low, found.high) if each is not None]
    if not ends:
        return wording.NO_VALUE
    if max(ends) < _LEAST_DRIFT:
        return f"under {_LEAST_DRIFT} bits"
    value, *around = (f"{each:.3f}" for each in ends)
    return f"{value} bits" + (f" ({' to '.join(around)})" if around else "")


def _unquoted(value: str) -> str:
    """A value of the configuration, as JSON, without the quotes around text."""
    found = json.loads(value) if value.startswith('"') and value.endswith('"') else value
    return str(found)
