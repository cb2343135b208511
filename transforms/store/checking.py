"""What a block must hold that is whole and right; `verify` asks for it block by block."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from transforms.elements import CommittedBlock, Shard
from transforms.statistics.columns import INPUT_PROPERTIES, INPUT_SIZES, POSITIVE_SHARE
from transforms.store.map_format import PICTURES, THUMBNAIL, MapFormat


def block_problems(
    block: CommittedBlock, shard: Shard, block_size: int, stored: MapFormat
) -> Iterator[str]:
    """What is wrong with a block that has been read back: a clause per problem.

    Args:
      block: The block, its identity and checksums checked.
      shard: Its input file.
      block_size: Records of every block of it but the last.
      stored: What is stored of a map.
    """
    key = block.key
    if key.first_record != key.number * block_size:
        yield f"it says to begin with record {key.first_record}"
    if not key.last and key.records != block_size:
        yield f"it has {key.records} records where a block has {block_size}"
    expected = pa.schema([field for field in stored.schema if field.name not in PICTURES])
    if not block.summary.schema.equals(expected):
        yield "its columns are not those of the manifest"
        return
    yield from _record_problems(block)
    yield from _value_problems(block.summary, shard, stored)


def thumbnail_problems(file: BinaryIO, stored: MapFormat) -> Iterator[str]:
    """What is wrong with a block's thumbnails: the first that is not what it has to be.

    Args:
      file: The block's, its checksum checked.
      stored: What is stored of a map.
    """
    parquet = pq.ParquetFile(file)
    shape = stored.thumbnail_shape
    if (shape is not None) != (THUMBNAIL in parquet.schema_arrow.names):
        yield f"it has {'no ' if shape else ''}thumbnails, other than the manifest says"
        return
    if shape is None:
        return
    for row, data in enumerate(parquet.read([THUMBNAIL])[THUMBNAIL].to_pylist()):
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                image.load()
                if (image.height, image.width) != shape:
                    yield f"the thumbnail of row {row} is {image.height} x {image.width} pixels"
                    return
        except (OSError, SyntaxError) as error:  # What Pillow raises for damaged files.
            yield f"the thumbnail of row {row} is no JPEG ({error})"
            return


def _record_problems(block: CommittedBlock) -> Iterator[str]:
    key = block.key
    span = range(key.first_record, key.first_record + key.records)
    records = np.asarray(block.summary["record"])
    explained = np.unique(records).tolist()
    failed = [failure.record for failure in block.failures]
    if (
        len(explained) != block.examples
        or block.examples + len(failed) + block.left_out != key.records
    ):
        left_out = f", {block.left_out} left out" if block.left_out else ""
        yield (
            f"it says {block.examples} examples of {key.records} records{left_out}, and has maps "
            f"of {len(explained)} and {len(failed)} failures"
        )
    known = [record for record in failed if record is not None]
    if not {*explained, *known} <= {*span} or {*explained} & {*known} or len({*known}) < len(known):
        yield "its records are not each there once"
    if (np.diff(records) < 0).any():
        yield "its rows are not in order"
    warned = [warning.record for warning in block.warnings]
    if sorted({*warned} & {*explained}) != warned:
        yield "it warns of other images than those that it explains, in order and each once"


def _value_problems(summary: pa.Table, shard: Shard, stored: MapFormat) -> Iterator[str]:
    if {*summary["shard"].to_pylist()} - {shard.name}:
        yield f"it names other input files than {shard.name}"
    scales = np.asarray(summary["map_scale"])
    if not np.isfinite(scales).all() or (scales < 0).any():
        yield "a map's scale is not a number from 0"
    if not np.isfinite(np.asarray(summary["score"])).all():
        yield "a score is not finite"
    for name in stored.measures:
        if not np.isfinite(summary[name].drop_null().to_numpy()).all():
            yield f"its {name} is not finite somewhere"
    properties = INPUT_PROPERTIES if stored.with_properties else ()
    for name in INPUT_SIZES if stored.with_properties else ():
        if not (np.asarray(summary[name]) > 0).all():
            yield f"its {name} is not above 0 somewhere"
    shares = (POSITIVE_SHARE,) if stored.signed else ()
    for name in (*stored.statistic_names, *properties, *shares):
        values = summary[name].drop_null().to_numpy()
        if not ((values >= 0) & (values <= 1)).all():
            yield f"its {name} is not within 0 and 1 somewhere"
