"""What `compare` prints for people: what the two atlases are, and what moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.console import print_line, print_rows, table_width
from pipeline.compare.result import (
    AtlasComparison,
    ComparedAtlas,
    Distributions,
    Estimate,
    GroupChange,
    JoinedExamples,
    PredictionPair,
)
from pipeline.plain_text import plain

_SHOWN_CLASSES = 20
_SHOWN_EXAMPLES = 10
_SHOWN_FLIPS = 5
_NOTHING = ""


def print_comparison(found: AtlasComparison) -> None:
    """Prints a comparison."""
    print_line(f"{found.sentence}:", style="bold")
    rows = [
        (name, _atlas(each)) for name, each in (("first", found.first), ("second", found.second))
    ]
    rows += [(each.key, f"{each.first}, then {each.second}") for each in found.differences]
    print_rows("Atlases", rows)
    if found.joined is not None:
        _print_joined(found.joined)
    if found.distributions is not None:
        _print_distributions(found.distributions)


def _atlas(side: ComparedAtlas) -> str:
    said = f"{side.atlas}: {side.examples:,} examples, {side.method} of {side.model}"
    return said if side.sample is None else f"{said}; a sample, {side.sample}"


def _print_joined(joined: JoinedExamples) -> None:
    predictions = joined.predictions
    rows = [
        ("examples in both", f"{joined.examples:,}, met by {joined.by}"),
        *_missing(joined),
        ("maps met", f"{joined.pairs:,}, by their {joined.maps}"),
        ("Spearman's correlation", _interval(joined.spearman.mean)),
        ("overlap of top deciles", _interval(joined.top_decile_overlap.mean)),
        *_accuracy(predictions),
    ]
    print_rows("What moved", rows)
    for flip in joined.flips[:_SHOWN_FLIPS]:
        names = _named(flip.first, flip.first_name), _named(flip.second, flip.second_name)
        print_line(f"{flip.n:,} predicted as {names[0]} before, as {names[1]} after")
    _print_table(
        "Classes whose maps are least alike",
        ("class", "maps", "Spearman", "overlap", "drift", "flips", "accuracy change"),
        (
            (
                _named(each.class_number, each.class_name),
                f"{each.pairs:,}",
                _interval(each.spearman.mean),
                _interval(each.top_decile_overlap.mean),
                _NOTHING if each.drift is None else _drift(each.drift),
                f"{each.predictions.flips:,}",
                _interval(each.predictions.accuracy_change, signed=True),
            )
            for each in joined.classes[:_SHOWN_CLASSES]
        ),
        len(joined.classes),
    )
    _print_table(
        "Maps that are least alike",
        ("example", "class", "Spearman", "overlap", "predicted"),
        (
            (
                each.example_id,
                _named(each.class_number, each.class_name),
                f"{each.spearman:.3f}",
                f"{each.top_decile_overlap:.3f}",
                _NOTHING
                if each.predicted_first is None
                else f"{each.predicted_first}"
                if each.predicted_first == each.predicted_second
                else f"{each.predicted_first}, then {each.predicted_second}",
            )
            for each in joined.moved[:_SHOWN_EXAMPLES]
        ),
        min(len(joined.moved), _SHOWN_EXAMPLES),
    )


def _missing(joined: JoinedExamples) -> Iterable[tuple[str, str]]:
    """What could not be met; nothing of what there is none of."""
    counts = (
        ("examples in the first alone", joined.only_first),
        ("examples in the second alone", joined.only_second),
        ("of them with an id of another, first", joined.duplicate_ids_first),
        ("of them with an id of another, second", joined.duplicate_ids_second),
        ("same place, other id", joined.renamed),
        ("other label in the second", joined.relabelled),
        ("maps of a class that the second does not explain", joined.other_class_first),
        ("maps of a class that the first does not explain", joined.other_class_second),
        ("pairs with a map that is the same everywhere", joined.undefined),
    )
    return ((name, f"{count:,}") for name, count in counts if count)


def _accuracy(predictions: PredictionPair) -> Iterable[tuple[str, str]]:
    if predictions.n:
        share = _interval(predictions.flip_share)
        yield "predictions that flip", f"{predictions.flips:,} of {predictions.n:,}: {share}"
    if predictions.accuracy_first is not None and predictions.accuracy_second is not None:
        change = _interval(predictions.accuracy_change, signed=True)
        yield (
            "accuracy",
            f"{predictions.accuracy_first:.3f}, then {predictions.accuracy_second:.3f}: {change}",
        )


def _print_distributions(found: Distributions) -> None:
    for side, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            shown = ", ".join(names[:_SHOWN_CLASSES])
            count = "1 class is" if len(names) == 1 else f"{len(names):,} classes are"
            print_line(f"{count} in the {side} alone: {shown}")
    _print_groups("Classes, the most drifted first", found.classes, len(found.classes))
    if found.slices:
        title = "Parts of classes, the most drifted first"
        _print_groups(title, found.slices, found.slices_in_all)


def _print_groups(title: str, groups: Sequence[GroupChange], count: int) -> None:
    _print_table(
        title,
        ("class", "part", "maps", "drift", "accuracy change", "largest effect"),
        (
            (
                _named(each.class_number, each.class_name),
                _NOTHING if each.slice is None else _part(each.slice, each.value),
                f"{each.n_first:,}, {each.n_second:,}",
                _drift(each.drift),
                _interval(each.accuracy_change, signed=True),
                _largest_effect(each),
            )
            for each in groups[:_SHOWN_CLASSES]
        ),
        count,
    )


def _part(name: str, value: str | None) -> str:
    return f"{name} {'null' if value is None else value}"


def _largest_effect(group: GroupChange) -> str:
    known = [each for each in group.statistics if each.effect.value is not None]
    if not known:
        return _NOTHING
    most = max(known, key=lambda each: abs(each.effect.value or 0.0))
    return f"{most.statistic.replace('_', ' ')} {_interval(most.effect, signed=True)}"


def _named(number: int, name: str | None) -> str:
    return str(number) if name is None else name


def _drift(found: Estimate) -> str:
    """A drift; what has none is a little below 0, less the bias of few examples."""
    value = None if found.value is None else max(found.value, 0.0)
    return _interval(found.model_copy(update={"value": value}))


def _interval(found: Estimate, *, signed: bool = False) -> str:
    """A figure with its interval, such as `0.812 (0.790 to 0.834)`."""
    if found.value is None:
        return "undefined"
    form = "{:+.3f}" if signed else "{:.3f}"
    value = form.format(found.value)
    if found.low is None or found.high is None:
        return value
    return f"{value} ({form.format(found.low)} to {form.format(found.high)})"


def _print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], count: int
) -> None:
    table = Table()
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    shown = 0
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
        shown += 1
    if not shown:
        return
    Console(width=table_width()).print(Text(title, style="bold"), table, sep="\n")
    if count > shown:
        print_line(f"and {count - shown:,} more: --json has them")
