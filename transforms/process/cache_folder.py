"""The user's folder for what can be made anew."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "SALIENCY_ATLAS_CACHE"


def cache_folder() -> Path | None:
    """Where this project keeps what saves time; None where nothing is to be kept.

    `$SALIENCY_ATLAS_CACHE`, which says so by being empty; else `saliency-atlas` in
    `$XDG_CACHE_HOME`, if that is an absolute path, as its specification has it; else in `~/.cache`.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given is not None:
        return Path(given) if given else None
    common = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(common):
        return Path(common, "saliency-atlas")
    try:
        return Path.home() / ".cache" / "saliency-atlas"
    except RuntimeError:  # A user without a home, as some containers have.
        return None
