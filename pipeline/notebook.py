"""What a notebook shows of an atlas, and of what it gives."""

from __future__ import annotations

import html

import numpy as np
import numpy.typing as npt

from pipeline.plain_text import plain
from transforms.store.manifest import Manifest


def atlas_html(path: str, manifest: Manifest) -> str:
    """A paragraph of HTML: where the atlas is, what it came to, and of which model it is.

    Args:
      path: Its folder.
      manifest: Its manifest.
    """
    said = (path, _outcome(manifest), manifest.config["model"]["uri"])
    shown, outcome, model = (html.escape(plain(each)) for each in said)
    return f"<p><b>Saliency atlas</b> <code>{shown}</code><br>{outcome}<br>model {model}</p>"


def atlas_text(path: str, manifest: Manifest) -> str:
    """The same in one line, for consoles.

    Args:
      path: Its folder.
      manifest: Its manifest.
    """
    return plain(f"<Atlas {path}, {_outcome(manifest)}; model {manifest.config['model']['uri']}>")


def _outcome(manifest: Manifest) -> str:
    """Its status and what was counted."""
    counts = "not finished"
    if manifest.result is not None:
        counts = (
            f"{manifest.result.explained_examples:,} examples explained, "
            f"{manifest.result.failed_records:,} records failed"
        )
    if manifest.sample is not None:
        counts += f"; a sample, {manifest.sample}"
    return f"{manifest.status}: {counts}"


def map_picture(values: npt.NDArray[np.floating], thumbnail: bytes | None = None) -> bytes:
    """A map as a PNG, on the scale of colours that reports have too.

    Args:
      values: (H, W), (H, W, C), (T, W) or (W,).
      thumbnail: A JPEG of the input; with it the picture is the input, the map over it in grey, and
        the map.
    """
    from pipeline import pictures  # Pillow, which nothing else here needs

    plane = pictures.in_times_uniform(values)
    return pictures.map_over_png(plane, thumbnail)
