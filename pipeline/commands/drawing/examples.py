"""One example as a picture, whatever kind its input is of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.commands.drawing.charts import MOST_SERIES, draw_series, draw_table
from pipeline.commands.drawing.maps import Pixels, draw, stretch

_TABLE, _SERIES, _IMAGE = 1, 2, 3  # axes of an input
_PICTURE_CHANNELS = (1, 3, 4)


def is_picture(shape: Sequence[int]) -> bool:
    """Whether inputs of a shape can be looked at as they are."""
    return len(shape) == _IMAGE and shape[-1] in _PICTURE_CHANNELS


def draw_example(
    values: npt.NDArray[np.float32],
    inputs: npt.NDArray[np.float32] | None,
    *,
    is_image: bool,
    names: Sequence[str] = (),
) -> Pixels:
    """Draws an example's map with its input.

    Args:
      values: (H, W), (H, W, C), (T, W) or (W,) saliency, at least 0.
      inputs: (H, W, C), (T, W) or (W,) the input before the scale; None where it is not known.
      is_image: Whether the input is an image in 0..255, rather than a tensor of any range.
      names: Of a table's features.

    Returns:
      (height, width, 3) uint8.
    """
    if values.ndim == _TABLE:
        return draw_table(values, inputs, names=names)
    if values.ndim == _SERIES and inputs is not None and inputs.ndim == _SERIES:
        return draw_series(values, inputs) if values.shape[1] <= MOST_SERIES else draw(values, None)
    if inputs is None or not is_picture(inputs.shape):
        return draw(values, None)
    return draw(values, inputs if is_image else stretch(inputs))
