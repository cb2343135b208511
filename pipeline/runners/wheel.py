"""The installed package as a wheel, so that workers elsewhere run the very code of the launcher.

A wheel is a zip file with a folder of metadata. Making one of what is installed takes neither a
checkout nor a build tool, and works for an editable install too.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

from transforms.process.version import DISTRIBUTION

_PACKAGES = ("pipeline", "transforms")
_TIME = (1980, 1, 1, 0, 0, 0)  # The earliest a zip file knows: the same package, the same bytes.
_WHEEL = "Wheel-Version: 1.0\nGenerator: saliency-atlas\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """Writes the wheel of the installed package.

    Args:
      folder: Where to.

    Returns:
      The file, named as wheels are.
    """
    distribution = importlib.metadata.distribution(DISTRIBUTION)
    stem = f"{DISTRIBUTION.replace('-', '_')}-{distribution.version}"
    files = {
        **_sources(),
        # An egg-info folder, as a checkout has it, calls its metadata PKG-INFO.
        f"{stem}.dist-info/METADATA": _text(distribution, "METADATA", "PKG-INFO"),
        f"{stem}.dist-info/WHEEL": _WHEEL.encode(),
        f"{stem}.dist-info/entry_points.txt": _text(distribution, "entry_points.txt"),
    }
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)
    return path


def _text(distribution: importlib.metadata.Distribution, *names: str) -> bytes:
    """The first of the distribution's files that there is."""
    texts = (distribution.read_text(name) for name in names)
    return next(text for text in texts if text).encode()


def _sources() -> dict[str, bytes]:
    """The packages' files by name, from where they are imported."""
    root = Path(__file__).parents[2]
    paths = sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _digest(data: bytes) -> str:
    """As RECORD has it: URL-safe base 64 without padding."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
