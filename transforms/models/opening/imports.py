"""Modules that a model needs: imported before it is loaded, and identified by their code."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from transforms.errors import ConfigurationError
from transforms.models.files import reason

_REMEDY = "install it, or put its folder on PYTHONPATH"


def import_modules(names: Sequence[str]) -> dict[str, Any]:
    """Imports modules, so that what they register with Keras or TensorFlow is known.

    Args:
      names: Dotted names.

    Returns:
      The classes and functions that they define, by name: what a Keras file may be made of without
      their being registered.

    Raises:
      ConfigurationError: One cannot be imported.
    """
    defined: dict[str, Any] = {}
    for name in names:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever the user's module raises while it is imported
            raise ConfigurationError(
                f"model.imports: module {name!r} cannot be imported ({reason(error)}); {_REMEDY}"
            ) from error
        defined |= _defined(module)
    return defined


def module_digest(key: str, name: str) -> str:
    """SHA-256 of a module's code, in hex: of its file, or of all of a package's .py files.

    Args:
      key: The key of the configuration that names it, for messages.
      name: Its dotted name. Packages above it are imported, it is not.

    Raises:
      ConfigurationError: There is none of that name.
    """
    try:
        spec = importlib.util.find_spec(name)
    except Exception as error:  # whatever a package above it raises while it is imported
        raise ConfigurationError(
            f"{key}: module {name!r} cannot be imported ({reason(error)}); {_REMEDY}"
        ) from error
    if spec is None:
        raise ConfigurationError(f"{key}: there is no module {name!r}; {_REMEDY}")
    digest = hashlib.sha256()
    for relative, path in _files(spec.origin, spec.submodule_search_locations):
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(f"{len(relative)}:{relative}:".encode() + content)
    return digest.hexdigest()


def _files(origin: str | None, folders: Sequence[str] | None) -> list[tuple[str, Path]]:
    """What a module's code is in: name in its folder and path, sorted; a single file has no name.

    Empty for what is built into Python.
    """
    if folders is None:
        path = Path(origin or "")
        return [("", path)] if path.is_file() else []
    roots = map(Path, folders)
    return sorted(
        (path.relative_to(root).as_posix(), path) for root in roots for path in root.rglob("*.py")
    )


def _defined(module: ModuleType) -> dict[str, Any]:
    """Classes and functions of a module that are its own, not imported into it."""
    return {
        name: value
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith(module.__name__)
    }
