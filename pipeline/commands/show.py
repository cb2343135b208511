"""Shows one example of an atlas: its input, its map, and the map over the input, as a PNG."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

from pipeline.atlas import Atlas
from pipeline.commands.drawing.examples import draw_example
from pipeline.config.keys import Config
from pipeline.rereading import Place, read_inputs
from transforms.errors import ConfigurationError, RunError, alternatives
from transforms.statistics.peak_windows import PEAK_WINDOW

_NEAREST = 3
_SEARCHED_IDS = 50_000  # Comparing with more takes longer than a user waits for a suggestion.


def show(
    atlas_path: str, example_id: str, output_png: str, target: str | None = None
) -> dict[str, Any]:
    """Draws an example's map with its input: over an image, under a series, as bars of a table.

    An image whose file has gone, or is not the one that was explained, is shown by its thumbnail,
    if the atlas has thumbnails.

    Args:
      atlas_path: The atlas.
      example_id: The example.
      output_png: The file to write.
      target: Which of its maps, by the class explained, its number or its name; None takes the
        first.

    Returns:
      The example's row of the maps table, less all that is a plane, with `output`, the file
      written, and `note`, why the input is not in it, or only small (None where it is, or where
      there is nothing to see).

    Raises:
      ConfigurationError: There is no such atlas or no map of that example and target, or the file
        cannot be written.
    """
    atlas = Atlas.open(atlas_path)
    rows = _find_rows(atlas, example_id)
    row = rows[0] if target is None else _row_of_target(atlas, rows, target)
    place = row["place"]
    values = atlas.map(place, row["target"])
    config = Config.from_dict(atlas.manifest["config"])
    inputs, note = _find_inputs(atlas, config, row, place)
    is_image = config.source.input.kind == "image"
    if note is not None:
        inputs, note = _find_thumbnail(atlas, place, note, values.shape)
        is_image = True
    drawn = draw_example(values, inputs, is_image=is_image, names=atlas.feature_names)
    places = list(dict.fromkeys([place, *(other["place"] for other in rows)]))
    if len(places) > 1:
        several = f"{len(places)} examples have this id, name one by its place: {', '.join(places)}"
        note = several if note is None else f"{note}; {several}"
    try:
        Image.fromarray(drawn).save(output_png, format="PNG")
    except OSError as error:
        raise ConfigurationError(f"{output_png} cannot be written: {error}") from error
    del row["place"]
    return {**row, "output": output_png, "note": note}


def _find_rows(atlas: Atlas, example_id: str) -> list[dict[str, Any]]:
    """The rows that a name means, each with the place of its example."""
    rows = atlas.rows(example_id)
    if rows.num_rows:
        planes = {"sketch", PEAK_WINDOW} & {*rows.column_names}
        found: list[dict[str, Any]] = rows.drop_columns([*planes]).to_pylist()
        return found
    failure = _find_failure(atlas, example_id)
    if failure is not None:
        raise ConfigurationError(
            f"example {example_id} has no map: it failed at {failure['stage']}: "
            f"{failure['message']}"
        )
    ids = atlas.table(["example_id"])["example_id"].unique() if rows.num_columns else []
    searched = [str(known) for known in ids[:_SEARCHED_IDS]]
    nearest = difflib.get_close_matches(example_id, searched, n=_NEAREST, cutoff=0)
    suggestion = f"; the nearest are {', '.join(nearest)}" if nearest else ""
    sample = atlas.sample
    of = "" if sample is None or sample.sample is None else f"; it has {sample}"
    raise ConfigurationError(f"the atlas has no example {example_id}{suggestion}{of}")


def _find_failure(atlas: Atlas, example_id: str) -> dict[str, Any] | None:
    try:
        failures = atlas.failures
    except FileNotFoundError:  # An atlas that is not finished has no table of them yet.
        return None
    found = failures.filter(pc.field("example_id") == example_id).to_pylist()
    return found[0] if found else None


def _row_of_target(atlas: Atlas, rows: list[dict[str, Any]], target: str) -> dict[str, Any]:
    """The first row whose class is called so, or has that number."""
    names = atlas.manifest["class_names"]
    number = names.index(target) if target in names else target
    for row in rows:
        if str(row["target"]) == str(number):
            return row
    explained = alternatives(dict.fromkeys(_class_title(row["target"], names) for row in rows))
    raise ConfigurationError(
        f"example {rows[0]['example_id']} has no map of target {target}: give {explained}"
    )


def _class_title(number: int, names: Sequence[str]) -> str:
    return f"{number} ({names[number]})" if number < len(names) else str(number)


def _find_inputs(
    atlas: Atlas, config: Config, row: dict[str, Any], place: str
) -> tuple[npt.NDArray[np.float32] | None, str | None]:
    """The input as it is before the scale; or None, and why where one would expect it."""
    from transforms.filesystems import BeamStorage

    named = Place.parse(place, row["example_id"])
    try:
        for _, inputs in read_inputs(config, atlas.shards, [named], BeamStorage()):
            return inputs, None
    except RunError:
        gone = next(shard.path for shard in atlas.shards if shard.folder == named.folder)
        return None, f"{gone} cannot be read any more"
    return None, f"record {row['record']} of {row['shard']} is not {row['example_id']} any more"


def _find_thumbnail(
    atlas: Atlas, place: str, why: str, shape: Sequence[int]
) -> tuple[npt.NDArray[np.float32] | None, str]:
    """An example's thumbnail, as large as its map, and what to say of it; None where it has none.

    Args:
      atlas: The atlas.
      place: Which example.
      why: Its input cannot be shown.
      shape: Of its map.
    """
    thumbnail = atlas.thumbnail(place)
    if thumbnail is None:
        return None, f"{why}: the map is shown alone"
    with Image.open(io.BytesIO(thumbnail)) as image:
        magnified = image.convert("RGB").resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(magnified, np.float32), f"{why}: its thumbnail is shown"
