"""What engines depend on beside what they compute: code, libraries, machine, settings."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

from transforms.models.devices import gpu_names, usable_cores
from transforms.process.version import installed_versions

_SOURCES = Path(__file__).parents[2]


@functools.cache
def surroundings() -> str:
    """Versions, this package's code, processor, GPUs and the libraries' settings, as text.

    Equal where whatever an engine has made or measured may be used again.
    """
    versions = installed_versions()
    for name in ("openvino", "tensorflow-cpu", "tf_keras"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    variables = {name: value for name, value in os.environ.items() if _is_of_libraries(name)}
    known = (
        versions,
        _sources(),
        _processor(),
        usable_cores(),
        gpu_names(),
        sorted(variables.items()),
    )
    return repr(known)


def _is_of_libraries(name: str) -> bool:
    if name.startswith("TF_CPP_"):  # What is logged: a run with --verbose is the same run.
        return False
    return name.startswith(("TF_", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "OV_", "CUDA_"))


def _sources() -> str:
    """A digest of this package's code, which changes between versions, too, in a checkout."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        if path.is_file():  # An editor's lock on a file is a link that leads nowhere.
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """Model and abilities of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not Linux.
        return f"{platform.machine()} {platform.processor()}"
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return f"{platform.machine()} {sorted(told)}"
