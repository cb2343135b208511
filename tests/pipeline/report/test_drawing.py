"""Maps of tensors in a report: lines and bars, on the scale that pictures of maps have."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

import numpy as np
from reported_atlas import Fake, write_atlas

from pipeline.atlas import Atlas
from pipeline.report import write
from pipeline.report.drawing.maps import TableMaps
from pipeline.report.drawing.tensors import of_grid, small_line


def written(folder: Path, shape: tuple[int, ...], sketch: tuple[int, ...]) -> str:
    """The report of three classes of tensors."""
    name = "-".join(map(str, shape))
    fake = Fake(classes=3, kind="tensor", shape=shape, sketch=sketch, thumbnails=False)
    write_atlas(folder / name, fake)
    write(Atlas.open(str(folder / name)), str(folder / f"{name}.html"))
    return (folder / f"{name}.html").read_text()


def opened(page: str, number: int) -> str:
    """What opens below a class."""
    (found,) = re.findall(rf'<template data-of="{number}">([^<]*)</template>', page)
    return gzip.decompress(base64.b64decode(found)).decode()


def test_a_table_is_shown_as_bars_with_names_and_series_as_lines(tmp_path: Path) -> None:
    page = written(tmp_path, (16,), (16,))
    assert "150 examples explained in 3 classes." in page
    assert '<fieldset class="switch">' not in page
    bars = opened(page, 1).split('<svg class="chart bars"')[1]
    named_bars = re.findall(r"<title>(feature \d+): ([\d.]+)\u00d7</title>", bars)
    assert len(named_bars) == 6
    heights = [float(times) for _, times in named_bars]
    assert heights == sorted(heights, reverse=True)
    assert "and 10 more, with less" in bars
    page = written(tmp_path, (64, 3), (28, 28))
    lines = opened(page, 1).split('<svg class="chart lines"')[1]
    assert re.findall(r">(series \d|time step|\d+)</text>", lines) == [
        *("series 0", "series 1", "series 2", "0", "time step", "63")
    ]


def test_series_are_found_again_in_the_grid_of_a_sketch() -> None:
    steps, series, columns = 5, 12, 28
    values = np.random.default_rng(0).random((steps, series))
    edges = np.linspace(0, series, columns + 1)
    grid = np.zeros((steps, columns))
    for column in range(columns):  # each has what of the series lies between its edges
        for number in range(series):
            low, high = max(edges[column], number), min(edges[column + 1], number + 1)
            grid[:, column] += values[:, number] * max(0.0, high - low) * columns / series
    np.testing.assert_allclose(of_grid(grid, series), values)


def test_charts_have_the_scale_of_the_maps() -> None:
    # A quarter is nothing, 1 a third of the height of 40, 4 two thirds, 16 and more all of it.
    path = re.findall(r'd="(M0[^"]*z)"', small_line(np.array([0.25, 1.0, 4.0, 16.0, 99.0])))
    assert [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)h", path[0])] == [40, 26.7, 13.3, 0, 0]
    drawn = TableMaps(4, ("age", "<b>", "x\u202ey", "weight"))
    bars = drawn.example(np.array([1.0, 2.0, 4.0, 1.0]), "Map of a")
    assert "&lt;b&gt;: 1.0\u00d7" in bars
    assert "x\\u202ey: 2.0\u00d7" in bars
    assert drawn.words(np.array([0.0, 0.0, 0.0, 1.0])) == (
        "most saliency in weight, 4.0 times uniform"
    )
    wide = TableMaps(1600)  # two features in each cell of its sketch
    assert wide.words(np.eye(800)[3]) == "most saliency in features 6 to 7, 800 times uniform"
