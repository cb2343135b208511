"""Which versions run: launcher and workers must have the same of this package."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
from pathlib import Path

from transforms.errors import RunError

DISTRIBUTION = "saliency-atlas"

_RECORDED = (DISTRIBUTION, "tensorflow", "keras", "apache-beam", "pyarrow", "numpy")


_CHECKOUT = Path(__file__).parents[2] / "pyproject.toml"
_NAME = re.compile(rf'^name = "{DISTRIBUTION}"$', re.MULTILINE)
_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)


@functools.cache
def package_version() -> str:
    """The version of the code that runs; `unknown` where nothing tells.

    A checkout tells its own, whatever else is installed beside it.
    """
    if _CHECKOUT.is_file():
        project = _CHECKOUT.read_text()
        version = _VERSION.search(project)
        if version and _NAME.search(project):
            return version[1]
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def is_package_installed() -> bool:
    """Whether this package is installed, rather than only on the path."""
    try:
        importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


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
        if name == DISTRIBUTION:
            versions[name] = package_version()
            continue
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # Such as tensorflow-cpu for tensorflow.
            versions[name] = "unknown"
    return versions
