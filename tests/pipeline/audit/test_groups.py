"""Figures of many groups at once are those of each by itself, wherever histograms are read from."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_atlas import fake_rows, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.groups import Groups, Histograms
from pipeline.audit.statistics import statistic
from transforms.errors import ConfigurationError
from transforms.store.layout import SLICES

LEVEL = 0.999
NAMES = ("corner_energy_mean", "spread_q25", "accuracy", "undefined_fraction", "score_mean")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Seven classes of three cameras; of one group all spreads are undefined, of one all equal."""
    rows = fake_rows(7, 60, cameras=["A", "B", None])
    spoilt = (rows["target"] == 2) & (rows["camera"] == "A")
    rows["spread"][spoilt] = np.nan
    rows["corner_energy"][(rows["target"] == 3) & (rows["camera"] == "B")] = 0.25
    return Atlas.open(write_atlas(tmp_path_factory.mktemp("atlas") / "a", rows))


@pytest.fixture(scope="module")
def stored(atlas: Atlas) -> Groups:
    """Without histograms in memory."""
    whole = atlas.slices
    small = whole.drop_columns([name for name in whole.column_names if "_histogram" in name])
    histograms = Histograms(atlas, SLICES, atlas.classes.schema)
    return Groups(small, None, histograms, np.arange(len(whole))).of_slice("camera")


@pytest.mark.parametrize("name", NAMES)
def test_many_groups_are_as_each_alone(atlas: Atlas, stored: Groups, name: str) -> None:
    found = statistic(name).figures(stored)
    around = found.intervals(LEVEL)
    assert len(stored) == 21
    for row in range(len(stored)):
        alone = statistic(name).figures(Groups(atlas.slices.slice(row, 1), "camera"))
        ends = alone.intervals(LEVEL)
        many = [each[row] for each in (found.n, found.value, around.low, around.high)]
        one = [each[0] for each in (alone.n, alone.value, ends.low, ends.high)]
        np.testing.assert_array_equal(many, one)


def test_groups_that_are_not_there_have_nothing(stored: Groups) -> None:
    taken = stored.taken(np.array([4, -1, 0]))
    assert taken.names == [stored.names[4], None, stored.names[0]]
    assert taken.defined("spread").tolist() == [20, 0, 20]
    counts = taken.counts("spread")
    assert counts.sum(axis=1).tolist() == [20, 0, 20]
    np.testing.assert_array_equal(counts[2], stored.counts("spread")[0])
    other = stored.same_as(taken)
    assert other.keys[::2] == taken.keys[::2]
    assert statistic("spread_mean").figures(other).n.tolist()[::2] == [20, 20]


def test_a_histogram_that_an_older_atlas_lacks_is_named(atlas: Atlas, stored: Groups) -> None:
    lacking = Histograms(atlas, "statistics/folds.parquet", atlas.classes.schema)
    groups = Groups(stored.table, "camera", lacking)
    with pytest.raises(ConfigurationError, match="has no column 'gini_histogram': if an older"):
        statistic("gini_mean").figures(groups)
