"""Writes a report: whole or not at all, a piece at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from pipeline.atlas import Atlas
from pipeline.atlas_files import located
from pipeline.report.content import Content
from pipeline.report.page import render
from transforms.errors import ConfigurationError


def write(atlas: Atlas, path: str, baseline: Atlas | None = None) -> dict[str, Any]:
    """Writes the report of an atlas, complete or not.

    Args:
      atlas: The atlas.
      path: The file to write, local or a URI; one that is there is replaced.
      baseline: Another atlas, to say what changed since; None for nothing of that.

    Returns:
      `atlas`, `output` and `bytes`, the size of the file.

    Raises:
      ConfigurationError: The file cannot be written.
    """
    content = Content(atlas, baseline).as_dict()
    pieces = (piece.encode() for piece in render("report.html", content))
    try:
        size = _write_remote(path, pieces) if "://" in path else _write_local(path, pieces)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error
    return {"atlas": atlas.path, "output": path, "bytes": size}


def _write_local(path: str, pieces: Iterable[bytes]) -> int:
    folder, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{name[:50]}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            size = sum(stream.write(piece) for piece in pieces)
        os.chmod(temporary, 0o644)  # mkstemp's files are their owner's alone
        os.replace(temporary, path)
    except BaseException:  # Nothing is left behind, whatever ends it.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return size


def _write_remote(uri: str, pieces: Iterable[bytes]) -> int:
    """An object appears when it is closed, by a fault too: so it is opened once all is made."""
    filesystem, path = located(uri)
    with tempfile.TemporaryFile() as whole:
        size = sum(whole.write(piece) for piece in pieces)
        whole.seek(0)
        with filesystem.open_output_stream(path) as stream:
            shutil.copyfileobj(whole, stream)
    return size
