"""What the commands print for people: tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import plain
from pipeline.run.progress import describe_seconds
from transforms.statistics.columns import POSITIVE_SHARE

_SHOWN_LAYERS = 12  # The last of them: what output_layer names is near the end.
_SHOWN_CLASSES = 20
_MAIN_STATISTICS = (
    "entropy",
    "gini",
    "border_energy",
    "corner_energy",
    "center_energy",
)
"""Those that come first; then places that the user has named."""

_KIBI = 1024
_UNFOLDED = 10_000  # characters


def print_plan(plan: Mapping[str, Any]) -> None:
    """Prints what a run would do: input, model, batch, time, storage, warnings."""
    model = plan["model"]
    rows = [
        ("input", f"{_files(plan['shards'])}, {describe_bytes(plan['input_bytes'])}"),
        ("examples", plan["drawn"] or f"about {plan['examples_estimated']:,}"),
        ("model", f"{model['uri']} ({model['format']})"),
        ("model input", _tensor(model["input"], "name")),
        ("explained output", _tensor(model["output"], "layer")),
        ("layers", _layers(model["layers"])),
        ("batch size", str(plan["batch_size"])),
        ("calls per example", f"{plan['calls']:,}"),
        ("threads", str(plan["threads"])),
        ("time", _about(plan["seconds_estimated"], describe_seconds, " in one process")),
        ("maps", _about(plan["map_bytes_estimated"], describe_bytes)),
        ("memory", _about(plan["memory_bytes_estimated"], describe_bytes, " in one process")),
        ("atlas", plan["atlas"]),
    ]
    print_rows("Plan", rows)
    if plan["first_look"]:
        print_first_look(plan["first_look"])
    if plan["sample"]:
        means = [(name, _number(value)) for name, value in plan["sample"].items()]
        print_rows("Means over the first examples", means)
    if plan["certificate"]:
        # It brings SciPy, which takes longer to import than a run's other modules together.
        from pipeline.certificate.result import Certificate
        from pipeline.certificate.words import sentences, title

        certificate = Certificate.model_validate(plan["certificate"])
        print_rows(title(certificate), sentences(certificate))
    if plan["picture"]:
        print_line(f"wrote {plan['picture']}")
    for warning in plan["warnings"]:
        print_line(f"warning: {warning}", style="yellow")


def print_first_look(look: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Prints what the model gets of the first examples, and what it makes of them.

    Args:
      look: A `FirstLook` as a dictionary.
      stream: Where to; None is stdout.
    """
    rows = [
        ("examples", f"{look['examples']:,} of {look['file']}"),
        *_input_rows(look["inputs"], look["features"]),
    ]
    rows += [
        (f"fed input {name}", f"{_span(values)}, mean {_number(values['mean'])}")
        for name, values in look["fed"].items()
    ]
    labels, correct, outputs = (look[key] for key in ("labels", "predicted_correctly", "outputs"))
    if labels is not None:
        span = f"{labels['low']} to {labels['high']}, {labels['different']} different"
        rows.append(("labels", span))
    if correct is not None:
        share = f"{correct / look['labelled']:.0%}"
        rows.append(("correct", f"{correct} of {look['labelled']} ({share})"))
    if outputs is not None:
        told = "" if outputs["by_graph"] or outputs["kind"] == "numbers" else ", by their values"
        kind = f"{outputs['kind']}{told}: {_span(outputs['values'])}"
        sure = outputs["confidence"]
        rows.append(("outputs", kind if sure is None else f"{kind}; {sure:.0%} sure in the mean"))
    if look["with_boxes"] is not None:
        rows.append(("with boxes", f"{look['with_boxes']:,}"))
    if look["with_masks"] is not None:
        rows.append(("with a mask", f"{look['with_masks']:,}"))
    rows.append(("empty maps", f"{look['empty_maps']:,}"))
    if look["orientations"]:
        tags = ", ".join(f"{count} with tag {tag}" for tag, count in look["orientations"])
        rows.append(("EXIF orientation", tags))
    print_rows("What the model gets of the first examples", rows, stream)


def _input_rows(
    ranges: Sequence[Mapping[str, float]], features: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """A line per channel, or per feature of a table; one for all where they are many."""
    for number, values in enumerate(ranges):
        name = "input" if len(ranges) == 1 else f"input channel {number}"
        if len(ranges) == len(features):
            name = f"input {features[number]}"
        yield name, f"{_span(values)}, mean {_number(values['mean'])}"


def _span(values: Mapping[str, float]) -> str:
    return f"{_number(values['low'])} to {_number(values['high'])}"


def print_run(
    manifest: Mapping[str, Any],
    atlas: str,
    class_rows: Callable[[str], Sequence[Mapping[str, Any]]],
) -> None:
    """Prints what a run came to, and its classes.

    Args:
      manifest: What the run left.
      atlas: Where.
      class_rows: Reads the statistics of an atlas, a row per class.
    """
    if manifest["status"] == "submitted":
        print_line(f"submitted; {atlas}/manifest.json says complete when the atlas is")
        return
    failed = manifest["failed_records"]
    rows = [
        ("examples", _explained(manifest)),
        ("failures", f"{failed:,}" + (f", read {atlas}/failures.parquet" if failed else "")),
        *_warned_rows(manifest),
        ("time", describe_seconds(manifest["wall_seconds"])),
        ("rate", _rate(manifest["examples_per_second"])),
        ("maps", describe_bytes(manifest["map_bytes"])),
        ("statistics", f"{atlas}/statistics/classes.parquet"),
        ("atlas", atlas),
    ]
    print_rows("Atlas", rows)
    _print_classes(class_rows(atlas))


def _warned_rows(manifest: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The row of images that decode with a warning, where there are any."""
    count = manifest["warned_images"]
    if count:
        first = manifest["first_warnings"][0]
        where = f"the first is record {first['record']} of {first['path']}: {first['message']}"
        yield "decoded with a warning", f"{count:,} {'image' if count == 1 else 'images'}, {where}"


def _explained(counts: Mapping[str, Any]) -> str:
    """How many examples of how many records, and how many a sample leaves out."""
    explained = f"{counts['explained_examples']:,} of {counts['records_read']:,} records"
    left_out = counts.get("left_out_records", 0)
    return f"{explained}; the sample leaves out {left_out:,}" if left_out else explained


def _print_classes(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line per class: how many, how many correct, means of the main statistics."""
    columns = rows[0] if rows else {}
    energies = [name.removesuffix("_mean") for name in columns if name.endswith("_energy_mean")]
    statistics = [
        name
        for name in dict.fromkeys((*_MAIN_STATISTICS, *energies, POSITIVE_SHARE))
        if any(row.get(f"{name}_mean") is not None for row in rows)
    ]
    table = Table()
    table.add_column("class", overflow="fold")
    for name in ("n", "correct", *(name.replace("_", " ") for name in statistics)):
        table.add_column(name, justify="right")
    for row in rows[:_SHOWN_CLASSES]:
        name = str(row["class"]) if row["class_name"] is None else row["class_name"]
        correct = row["n_correct"]
        share = "" if correct is None else f"{correct / row['n']:.0%}"
        means = (row[f"{statistic}_mean"] for statistic in statistics)
        cells = ("" if mean is None else f"{mean:.3f}" for mean in means)
        table.add_row(Text(plain(name)), f"{row['n']:,}", share, *cells)
    Console(width=table_width(None)).print(Text("Classes", style="bold"), table, sep="\n")
    if len(rows) > _SHOWN_CLASSES:
        print_line(f"and {len(rows) - _SHOWN_CLASSES:,} more classes in the table of statistics")


def print_summary(summary: Mapping[str, Any]) -> None:
    """Prints what rebuilding the statistics came to."""
    unchanged = {
        True: "the same bytes as before",
        False: "other bytes than the manifest records",
        None: "made for the first time",
    }
    failed = summary["failed_records"]
    rows = [
        ("examples", _explained(summary)),
        ("failures", f"{failed:,}"),
        ("blocks", f"{summary['blocks']:,}"),
        ("statistics", f"{summary['statistics']}: {unchanged[summary['unchanged']]}"),
    ]
    print_rows("Statistics", rows)


def print_verification(verified: Mapping[str, Any]) -> None:
    """Prints what was checked, and a line a problem."""
    names = ("status", "shards", "blocks", "maps", "records_read", "warned_images")
    shown = [name for name in names if name in verified]
    shown += ["left_out_records"] if verified.get("left_out_records") else []
    found = {name: verified[name] for name in shown}
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
        for name, value in found.items()
    ]
    inputs = "compared with the input files" if verified["against_inputs"] else "not compared"
    problems = verified["problems"]
    rows += [("inputs", inputs), ("problems", str(len(problems)))]
    print_rows("Verification", rows)
    for problem in problems:
        print_line(f"{problem['path']}: {problem['what']}", style="red")


def print_index(made: Mapping[str, Any]) -> None:
    """Prints how much was indexed."""
    print_line(f"indexed {made['records']:,} records in {made['files']:,} files")


def print_report(written: Mapping[str, Any]) -> None:
    """Prints where the report is, and its size."""
    print_line(f"wrote {written['output']} ({describe_bytes(written['bytes'])})")


def print_shown(shown: Mapping[str, Any]) -> None:
    """Prints the numbers of the example that was drawn, and where its picture is."""
    example = f"{shown['example_id']} ({shown['shard']}, record {shown['record']})"
    classes = [
        f"{name} {shown[name]}"
        for name in ("label", "target", "predicted")
        if shown.get(name) is not None
    ]
    numbers = [
        f"{name} {_number(value)}" for name, value in shown.items() if isinstance(value, float)
    ]
    print_line(f"{example}: {', '.join(classes + numbers)}")
    if shown["note"]:
        print_line(f"note: {shown['note']}")
    print_line(f"wrote {shown['output']}")


def describe_bytes(count: float) -> str:
    """An amount of storage.

    >>> describe_bytes(512), describe_bytes(1536), describe_bytes(3 << 30)
    ('512 bytes', '1.5 KiB', '3.0 GiB')
    """
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while count >= _KIBI and len(units) > 1:
        count /= _KIBI
        del units[0]
    digits = 0 if units[0] == "bytes" else 1
    return f"{count:,.{digits}f} {units[0]}"


def print_rows(title: str, rows: Iterable[tuple[str, str]], stream: TextIO | None = None) -> None:
    """Prints names with what they are, below a title.

    Args:
      title: The title.
      rows: The names with what they are.
      stream: Where to; None is stdout.
    """
    table = Table(show_header=False)
    for name, value in rows:
        # Text, not markup: paths may hold brackets. Folded, not cut: paths are to be copied.
        table.add_row(name, Text(plain(value), overflow="fold"))
    Console(file=stream, width=table_width(stream)).print(
        Text(title, style="bold"), table, sep="\n"
    )


def table_width(stream: TextIO | None = None) -> int | None:
    """Of a table: the terminal's, but what another program reads is never folded."""
    return None if Console(file=stream).is_terminal else _UNFOLDED


def print_line(text: str, style: str = "") -> None:
    """Prints a line, which a terminal may fold and another program reads as one."""
    Console(highlight=False).print(Text(plain(text), style=style), soft_wrap=True)


def _about(value: float | None, describe: Callable[[float], str], note: str = "") -> str:
    return (
        "unknown: no example could be explained"
        if value is None
        else (f"about {describe(value)}{note}")
    )


def _tensor(description: Mapping[str, Any], name: str) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in description["shape"])
    kind = f" {description['dtype']}" if "dtype" in description else ""
    # Logits that a model ends in before its softmax are no layer's output, and have no name.
    named = "" if description[name] is None else f"{description[name]}: "
    return f"{named}[{sizes}]{kind}"


def _layers(names: list[str]) -> str:
    hidden = len(names) - _SHOWN_LAYERS
    shown = ", ".join(names[-_SHOWN_LAYERS:])
    return f"... {hidden} more, {shown}" if hidden > 0 else shown or "unknown to a SavedModel"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _rate(value: float | None) -> str:
    return "nothing was left to explain" if value is None else f"{value:,.1f} examples/s"
