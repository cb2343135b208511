"""Which versions made an atlas."""

from __future__ import annotations

import importlib.metadata
import platform

_DISTRIBUTIONS = ("saliency-atlas", "tensorflow", "keras", "apache-beam", "pyarrow", "numpy")


def installed_versions() -> dict[str, str]:
    """Versions by distribution, Python's too."""
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # Such as tensorflow-cpu for tensorflow.
            versions[name] = "unknown"
    return versions
