"""What is drawn of time series and tables: where the ground is warm, where the bars end."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.commands.drawing.charts import draw_series, draw_table
from pipeline.commands.drawing.examples import draw_example
from pipeline.commands.drawing.maps import draw
from pipeline.commands.drawing.sheet import contact_sheet

WHITE, WARM, BLACK = (255, 255, 255), (255, 112, 40), (0, 0, 0)


def test_the_ground_is_warm_where_the_saliency_is() -> None:
    values = np.zeros((10, 2), np.float32)
    values[7, 1] = 3.0
    pixels = draw_series(values, None, width=64 + 12 + 100)
    assert tuple(pixels[20, 64 + 75]) == WHITE  # the first series
    assert tuple(pixels[6 + 116 + 20, 64 + 75]) == WARM  # the second at step 7
    assert tuple(pixels[6 + 116 + 20, 64 + 65]) == WHITE  # and at step 6


def test_a_series_is_a_line_from_its_smallest_to_its_largest_value() -> None:
    inputs = np.linspace(-2, 5, 50, dtype=np.float32)[:, np.newaxis]
    pixels = draw_series(np.zeros((50, 1), np.float32), inputs, width=64 + 12 + 100)
    rows, columns = np.nonzero((pixels[8:112, 66:160] == BLACK).all(axis=-1))
    assert rows[columns.argmin()] > 90  # low at the left
    assert rows[columns.argmax()] < 15  # high at the right


def test_bars_are_as_long_as_the_saliency_and_sorted_by_it() -> None:
    values = np.array([1.0, 4.0, 2.0], np.float32)
    pixels = draw_table(values, values, width=640)
    lengths = [int((pixels[top, 192:] == WARM).all(axis=-1).sum()) for top in (26, 44, 62)]
    longest = 640 - 192 - 80
    assert lengths == pytest.approx([longest, longest / 2, longest / 4], abs=2)


def test_of_many_features_the_first_are_drawn() -> None:
    assert draw_table(np.ones(24, np.float32), None).shape == (26 * 18, 640, 3)
    assert draw_table(np.ones(90, np.float32), None).shape == (26 * 18, 640, 3)


def test_nothing_but_zeros_can_be_drawn() -> None:
    for shape in ((4,), (5, 2), (6, 6, 3)):
        zeros = np.zeros(shape, np.float32)
        values = zeros.max(axis=-1) if len(shape) == 3 else zeros
        assert draw_example(values, zeros, is_image=False).dtype == np.uint8


def test_a_sheet_holds_its_tiles_in_rows_of_four() -> None:
    tile = np.full((50, 60, 3), 7, np.uint8)
    sheet = contact_sheet([(tile, f"{number}") for number in range(6)])
    assert sheet.shape == (2 * (50 + 16 + 10) + 10, 4 * (60 + 10) + 10, 3)
    assert (sheet[10:60, 10:70] == 7).all()
    assert (sheet[86:136, 80:140] == 7).all()  # the sixth
    assert (sheet[86:136, 150:210] == 255).all()  # there is no seventh
    wide = contact_sheet([(draw(np.ones((8, 8), np.float32), np.ones((8, 8, 3), np.float32)), "")])
    assert wide.shape[1] == 420 + 20
