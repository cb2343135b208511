"""Shows one example of an atlas: its input, its map, and the map over the input, as a PNG."""

from __future__ import annotations

import dataclasses
import difflib
import io
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

from pipeline.atlas import Atlas
from pipeline.config.keys import Config
from transforms.elements import Shard
from transforms.errors import ConfigurationError, RunError
from transforms.formats.images.decoding import InputDecoder
from transforms.formats.reader import read_blocks
from transforms.storage import escape

_INFERNO = np.array(
    [
        [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
        [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
    ],
    np.float64,
)  # fmt: skip
"""Matplotlib's perceptually uniform colour map at ten even steps, dark where little is."""

_BRIGHTEST_PERCENTILE = 99.0  # A few extreme pixels would leave the rest of a map dark.
_PANEL_PIXELS = 256  # Smaller maps are magnified by a whole number up to about this.
_GAP_PIXELS = 8
_STRIP_ASPECT = 8  # A tabular map is drawn this many times wider than high.
_FAINTEST, _STRONGEST = 0.15, 0.85  # How much of the overlay is the map's colour.
_PICTURE_CHANNELS = (1, 3, 4)
_PICTURE_RANK = 3
_NEAREST = 3
_SEARCHED_IDS = 50_000  # Comparing with more takes longer than a user waits for a suggestion.

Pixels = npt.NDArray[np.uint8]


def show(atlas_path: str, example_id: str, output_png: str) -> dict[str, Any]:
    """Draws an example's first map beside and over its input.

    Time series and tabular examples get their map alone. An image whose file has gone, or is not
    the one that was explained, is shown by its thumbnail, if the atlas has thumbnails.

    Args:
      atlas_path: The atlas.
      example_id: The example.
      output_png: The file to write.

    Returns:
      The example's row of the maps table, less map and sketch, with `output`, the file written,
      and `note`, why the input is not in it, or only small (None where it is, or where there is
      nothing to see).

    Raises:
      ConfigurationError: There is no such atlas or no map of that example, or the file cannot be
        written.
    """
    atlas = Atlas.open(atlas_path)
    rows = _find_rows(atlas, example_id)
    row = rows[0]
    place = row.pop("place")
    values = atlas.map(place, row["target"])
    picture, note = _find_picture(atlas, row, place)
    if note is not None:
        picture, note = _find_thumbnail(atlas, place, note, values.shape)
    places = list(dict.fromkeys([place, *(other["place"] for other in rows[1:])]))
    if len(places) > 1:
        several = f"{len(places)} examples have this id, name one by its place: {', '.join(places)}"
        note = several if note is None else f"{note}; {several}"
    try:
        Image.fromarray(draw(values, picture)).save(output_png, format="PNG")
    except OSError as error:
        raise ConfigurationError(f"{output_png} cannot be written: {error}") from error
    return {**row, "output": output_png, "note": note}


def draw(values: npt.NDArray[np.float32], picture: npt.NDArray[np.float32] | None) -> Pixels:
    """Draws a map, between its input and the two over each other where there is a picture.

    Args:
      values: (H, W), (H, W, C), (T, W) or (W,) saliency, at least 0. Channels show their maximum.
      picture: (H, W, C) in 0..255, or None.

    Returns:
      (height, width, 3) uint8.
    """
    brightness = _brightness(_as_plane(values))
    colours = _colour(brightness)
    panels: list[npt.NDArray[Any]] = [colours]
    if picture is not None:
        base = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]
        share = (_FAINTEST + (_STRONGEST - _FAINTEST) * brightness)[..., np.newaxis]
        panels = [base, colours, (1 - share) * base + share * colours]
    factor = max(1, _PANEL_PIXELS // max(brightness.shape))
    pixels = [
        np.clip(np.rint(panel), 0, 255).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
        for panel in panels
    ]
    gap = np.full((pixels[0].shape[0], _GAP_PIXELS, 3), 255, np.uint8)
    spaced = [part for panel in pixels for part in (gap, panel)][1:]
    return np.concatenate(spaced, axis=1)


def _find_rows(atlas: Atlas, example_id: str) -> list[dict[str, Any]]:
    """The rows that a name means, each with the place of its example."""
    rows = atlas.rows(example_id)
    if rows.num_rows:
        found: list[dict[str, Any]] = rows.drop_columns(["sketch"]).to_pylist()
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
    raise ConfigurationError(f"the atlas has no example {example_id}{suggestion}")


def _find_failure(atlas: Atlas, example_id: str) -> dict[str, Any] | None:
    try:
        failures = atlas.failures
    except FileNotFoundError:  # An atlas that is not finished has no table of them yet.
        return None
    found = failures.filter(pc.field("example_id") == example_id).to_pylist()
    return found[0] if found else None


def _find_picture(
    atlas: Atlas, row: dict[str, Any], place: str
) -> tuple[npt.NDArray[np.float32] | None, str | None]:
    """The input as (H, W, C) in 0..255; or None, and why where one would expect it."""
    config = Config.from_dict(atlas.manifest["config"])
    shape = config.input_spec().decoded_shape
    if len(shape) != _PICTURE_RANK or shape[-1] not in _PICTURE_CHANNELS:
        return None, None
    shard = next(shard for shard in atlas.shards if shard.folder == place.rpartition(":")[0])
    try:
        found = _read_input(shard, config, row)
    except RunError:
        return None, f"{shard.path} cannot be read any more"
    if found is not None:
        (decoded,), (fault,) = InputDecoder(config.input_spec()).decode(found)
        if fault is None:
            decoded = decoded.astype(np.float32)
            return decoded if config.source.input.kind == "image" else _stretch(decoded), None
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


def _read_input(
    shard: Shard, config: Config, row: dict[str, Any]
) -> tuple[bytes, ...] | npt.NDArray[Any] | None:
    """A record's input, as a batch of one; None where that record is another or none."""
    from transforms.filesystems import BeamStorage

    source = config.source_spec()
    # Labels may need class names, boxes may be wrong: neither is drawn.
    features = dataclasses.replace(source.features, label=None, boxes=None)
    source = dataclasses.replace(source, features=features)
    block_size = config.output.block_size
    number = row["record"] // block_size
    storage = BeamStorage()
    size = sum(entry.size for entry in storage.match(escape(shard.path)))  # it may have grown
    shard = dataclasses.replace(shard, size=size, version=None)
    inputs = config.input_spec()
    only = _AllBut(number)
    for block in read_blocks(shard, source, inputs, block_size, storage, skip=only):
        examples = block.examples
        (places,) = np.nonzero(examples.records == row["record"])
        for place in places.tolist():
            if examples.ids[place] == row["example_id"]:
                return examples.inputs[place : place + 1]
        break
    return None


class _AllBut(Container[int]):
    """Every number but one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __contains__(self, number: object) -> bool:
        return number != self._number


def _as_plane(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    plane = values.astype(np.float64)
    if plane.ndim == 1:
        return np.repeat(plane[np.newaxis], max(1, len(plane) // _STRIP_ASPECT), axis=0)
    return plane.max(axis=-1) if plane.ndim == _PICTURE_RANK else plane


def _brightness(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In 0..1, where 1 is the brightest percentile or more."""
    brightest = np.percentile(plane, _BRIGHTEST_PERCENTILE) or plane.max()
    return np.clip(plane / brightest, 0, 1) if brightest > 0 else np.zeros_like(plane)


def _colour(brightness: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    steps = np.linspace(0, 1, len(_INFERNO))
    return np.stack([np.interp(brightness, steps, channel) for channel in _INFERNO.T], axis=-1)


def _stretch(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A tensor of any range in 0..255."""
    low, high = float(values.min()), float(values.max())
    stretched: npt.NDArray[np.float32] = (values - low) * (255 / (high - low if high > low else 1))
    return stretched
