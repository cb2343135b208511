"""Which versions run: launcher and workers must have the same of this package."""

from __future__ import annotations

import importlib.metadata
import platform

from transforms.errors import RunError

DISTRIBUTION = "saliency-atlas"

_RECORDED = (DISTRIBUTION, "tensorflow", "keras", "apache-beam", "pyarrow", "numpy")


def package_version() -> str:
    """The version that is installed here; `unknown` where the code is only on the path."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def require_version(launcher: str) -> None:
    """Refuses to work for a launcher of another version.

    What it sends may unpickle here all the same, and then mean something else.

    Raises:
      RunError: Naming both versions.
    """
    worker = package_version()
    if worker != launcher:
        raise RunError(
            f"the launcher has {DISTRIBUTION} {launcher}, this worker {worker}: give the workers "
            f"the launcher's version, in their image or by --extra_package"
        )


def installed_versions() -> dict[str, str]:
    """Versions by distribution, Python's too."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # Such as tensorflow-cpu for tensorflow.
            versions[name] = "unknown"
    return versions
