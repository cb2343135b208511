"""Files of Keras 2, which Keras 3 does not read: `tf_keras` reads them, where it is installed.

Its safe mode keeps Python code in a file from running, but not a file from naming any function of
any module, which it then calls. So what a file names is looked at first.
"""

from __future__ import annotations

import builtins
import importlib.util
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.errors import ConfigurationError
from transforms.models.files import LAMBDA_REMEDY, SAFE_MODE_REFUSES, reason

_EXPORT = "export it as a SavedModel with the Keras that made it (model.export)"
_KERAS = frozenset({"keras", "tf_keras"})


def is_keras_2(layer: Any) -> bool:
    """Whether a layer or model is one of `tf_keras`."""
    return any(each.__module__.partition(".")[0] == "tf_keras" for each in type(layer).__mro__)


def open_keras_2(uri: str, path: str, allow_unsafe: bool, code: Mapping[str, Any]) -> Any:
    """Reads a Keras 2 file, without its optimiser and loss.

    Args:
      uri: How messages call it.
      path: Where it is on this machine.
      allow_unsafe: Load code that is in the file, and functions of any module that it names.
      code: Classes and functions that it may be made of, by name.

    Raises:
      ConfigurationError: `tf_keras` is not installed, or cannot read it.
    """
    if importlib.util.find_spec("tf_keras") is None:
        raise ConfigurationError(
            f"model {uri} was saved by Keras 2, and has what Keras 3 does not read; install "
            f"tf_keras, which reads it (pip install 'saliency-atlas[keras2]'), or {_EXPORT}"
        )
    import tf_keras
    from tf_keras.src.saving import serialization_lib

    try:
        if not allow_unsafe:
            _check_names(uri, path, {each.__module__ for each in code.values()})
        with serialization_lib.SafeModeScope(not allow_unsafe):  # .h5 files have no other way
            return tf_keras.models.load_model(
                path, custom_objects=dict(code), compile=False, safe_mode=not allow_unsafe
            )
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a file can make Keras and custom layers raise
        if SAFE_MODE_REFUSES.search(str(error)) and not allow_unsafe:
            raise ConfigurationError(f"model {uri} {LAMBDA_REMEDY} {_EXPORT}") from error
        raise ConfigurationError(
            f"model {uri} was saved by Keras 2, and tf_keras cannot load it ({reason(error)}); "
            f"name the modules of its own layers in model.imports, or {_EXPORT}"
        ) from error


def _check_names(uri: str, path: str, own_modules: set[str]) -> None:
    """Refuses a file that names functions or classes that are neither Keras's nor the user's.

    Raises:
      ConfigurationError: It does.
    """
    for module, name in _named(_settings(path)):
        if module.partition(".")[0] in _KERAS or module in own_modules:
            continue
        if module == "builtins" and not hasattr(builtins, name):  # so Keras calls its own
            continue
        raise ConfigurationError(
            f"model {uri} is made of {name!r} of the module {module}; if that is code of yours "
            "name the module in model.imports; if you trust the file set model.allow_unsafe: true"
        )


def _settings(path: str) -> Any:
    """What a file says of its layers."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["model_config"])


def _named(settings: Any) -> Iterator[tuple[str, str]]:
    """Modules and names in them that a file's settings refer to."""
    if isinstance(settings, list):
        for each in settings:
            yield from _named(each)
    elif isinstance(settings, dict):
        module = settings.get("module")
        if isinstance(module, str) and "class_name" in settings:
            is_function = settings.get("class_name") == "function"
            yield module, str(settings.get("config" if is_function else "class_name"))
        for each in settings.values():
            yield from _named(each)
