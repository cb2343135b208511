"""The examples whose maps moved most, with both maps: read from their blocks, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline import pictures
from pipeline.atlas import Atlas
from pipeline.compare.result import MovedExample
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
    """

    example: MovedExample
    before: npt.NDArray[np.float64]
    now: npt.NDArray[np.float64]
    thumbnail: bytes | None


def read_both(
    baseline: Atlas, atlas: Atlas, examples: Sequence[MovedExample]
) -> Iterator[BothMaps]:
    """Reads the maps of some examples.

    Args:
      baseline: The first of the two that were compared.
      atlas: The second.
      examples: Which, as the comparison gives them.
    """
    for each in examples:
        before, old = _stored(baseline, each.block_first, each.record_first, each.class_number)
        now, new = _stored(atlas, each.block_second, each.record_second, each.class_number)
        yield BothMaps(each, before, now, new if new is not None else old)


def _stored(
    atlas: Atlas, path: str, record: int, target: int
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
            plane = pictures.pooled(pictures.in_times_uniform(values), _LONGEST_MAP)
            return plane, row[THUMBNAIL][0].as_py() if THUMBNAIL in columns else None
    raise KeyError((path, record, target))
