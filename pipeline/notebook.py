"""What a notebook shows of an atlas."""

from __future__ import annotations

import html

from pipeline.plain_text import plain
from transforms.store.manifest import Manifest


def atlas_html(path: str, manifest: Manifest) -> str:
    """A paragraph of HTML: where the atlas is, what it came to, and of which model it is.

    Args:
      path: Its folder.
      manifest: Its manifest.
    """
    counts = "not finished"
    if manifest.result is not None:
        counts = (
            f"{manifest.result.explained_examples:,} examples explained, "
            f"{manifest.result.failed_records:,} records failed"
        )
    if manifest.sample is not None:
        counts += f"; a sample, {manifest.sample}"
    said = (path, f"{manifest.status}: {counts}", manifest.config["model"]["uri"])
    shown, state, model = (html.escape(plain(each)) for each in said)
    return f"<p><b>Saliency atlas</b> <code>{shown}</code><br>{state}<br>model {model}</p>"
