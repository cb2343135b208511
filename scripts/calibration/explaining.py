"""Explains a set of images in memory: the tables that a run would make, without its files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from demonstration.data import TILE

from calibration.kinds import Head
from calibration.network import BATCH, network
from calibration.pictures import Tiles
from transforms.elements import Block, BlockKey, Examples, Shard
from transforms.formats.source import InputSpec
from transforms.models.functions import KerasFunction
from transforms.models.loading import LoadedModel
from transforms.saliency.attribution import Attribution
from transforms.saliency.block import BlockExplainer
from transforms.saliency.engines.engine import CompiledAttribution, Inputs
from transforms.saliency.examples import explain_spec
from transforms.saliency.program import attribution_function
from transforms.store.map_format import MAP

_INPUTS = InputSpec("image", (TILE, TILE, 3), scale="unit")


class TablesInMemory:
    """What an audit reads of an atlas.

    Args:
      table: The maps table.
      classes: The table of classes.
      folds: The table of folds.
    """

    def __init__(self, table: pa.Table, classes: pa.Table, folds: pa.Table) -> None:
        self.table = table
        self.classes = classes
        self.folds = folds

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the maps table, in one piece."""
        rows = self.table if where is None else self.table.filter(where)
        yield from rows.select(columns).combine_chunks().to_batches()


def explain(classes: int, head: Head, tiles: Tiles) -> TablesInMemory:
    """Explains each tile's label by the network as it is trained at the moment."""
    explainer = _explainer(classes, head)
    count = len(tiles.labels)
    block = Block(
        BlockKey(Shard("tiles", 0), 0, 0, count, last=True),
        Examples(
            records=np.arange(count, dtype=np.int64),
            ids=tuple(f"tile-{number}" for number in range(count)),
            inputs=tiles.pixels,
            labels=tiles.labels,
        ),
    )
    explained = explainer.explain(block)
    sums = explainer.spec.map_format.no_sums()
    sums.add(explained.table.drop_columns([MAP]))
    tables = sums.tables()
    return TablesInMemory(explained.table, tables.classes, tables.folds)


@functools.cache
def _explainer(classes: int, head: Head) -> BlockExplainer:
    """Compiled once: it reads the weights at every call, unlike what a run compiles."""
    function = KerasFunction(network(classes, head).model)
    model = LoadedModel("calibration", "", function, (TILE, TILE, 3))
    spec = explain_spec("calibration", _INPUTS, "label", batch_size=BATCH)
    traced = attribution_function(model.read_as("classes"), spec.program).trace(None)

    def run(inputs: Inputs, labels: npt.NDArray[np.int32]) -> Attribution:
        given = tf.constant(np.asarray(inputs, np.float32))
        return Attribution(*traced(given, tf.constant(labels)))

    return BlockExplainer(model, spec, CompiledAttribution(run, step=1))
