"""The examples whose maps moved most, with both maps: read from their blocks, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline import pictures
from pipeline.atlas import Atlas
from pipeline.compare.result import MovedExample
from pipeline.plain_text import plain
from pipeline.report.drawing.maps import Maps
from transforms.codec import decode
from transforms.store.map_format import MAP, THUMBNAIL, map_codes

_LONGEST_MAP = 64  # pixels of a map on the page


@dataclasses.dataclass(frozen=True)
class BothMaps:
    """An example with its maps in both atlases.

    Attributes:
      example: What is known of it.
      before: (H, W) its map in the baseline, in times uniform.
      now: (H, W) in the atlas.
      thumbnail: A JPEG of the input; None where neither atlas has one.
      charts: Both maps as lines or bars; None where they are pictures.
    """

    example: MovedExample
    before: npt.NDArray[np.float64]
    now: npt.NDArray[np.float64]
    thumbnail: bytes | None
    charts: tuple[Markup, Markup] | None


def read_both(
    baseline: Atlas, atlas: Atlas, examples: Sequence[MovedExample], drawn: Maps
) -> Iterator[BothMaps]:
    """Reads the maps of some examples.

    Args:
      baseline: The first of the two that were compared.
      atlas: The second.
      examples: Which, as the comparison gives them.
      drawn: How maps are drawn.
    """
    longest = _LONGEST_MAP if drawn.has_colours else None
    for each in examples:
        target = each.class_number
        before, old = _stored(baseline, each.block_first, each.record_first, target, longest)
        now, new = _stored(atlas, each.block_second, each.record_second, target, longest)
        title = f"Map of {plain(each.example_id)}"
        charts = (drawn.example(before, f"{title} before"), drawn.example(now, f"{title} now"))
        yield BothMaps(
            each,
            before,
            now,
            thumbnail=new if new is not None else old,
            charts=None if charts[0] is None or charts[1] is None else (charts[0], charts[1]),
        )


def _stored(
    atlas: Atlas, path: str, record: int, target: int, longest: int | None
) -> tuple[npt.NDArray[np.float64], bytes | None]:
    """A map and its thumbnail, out of the row group that holds them."""
    block = atlas.open_block(f"{atlas.path}/{path}")
    columns = [MAP, "map_scale", *({THUMBNAIL} & {*block.schema_arrow.names})]
    for group in range(block.num_row_groups):
        keys = block.read_row_group(group, ["record", "target"])
        is_it = (keys["record"].to_numpy() == record) & (keys["target"].to_numpy() == target)
        if is_it.any():
            row = block.read_row_group(group, columns).take([int(is_it.argmax())])
            (values,) = decode(map_codes(row), row["map_scale"].to_numpy())
            plane = pictures.in_times_uniform(values)
            if longest is not None:
                plane = pictures.pooled(plane, longest)
            return plane, row[THUMBNAIL][0].as_py() if THUMBNAIL in columns else None
    raise KeyError((path, record, target))
