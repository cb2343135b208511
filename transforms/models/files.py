"""Model files: what identifies them, how they get here from any storage, how they are opened."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.storage import FileEntry, Storage, join, to_text

if TYPE_CHECKING:
    import keras

_LOGGER = logging.getLogger(__name__)
_noted: set[str] = set()  # SavedModels of which it has been said what they may do

KERAS_EXTENSIONS = (".keras", ".h5", ".hdf5")
"""Files that Keras itself reads; everything else must be a SavedModel folder."""

SAVED_MODEL_FILE = "saved_model.pb"

EXPORT = "keras.Model(inputs, model(inputs, training=False)).export(folder)"
"""How a model is exported for inference: `model.export` alone keeps layers of augmentation on."""

_NO_CODE: Mapping[str, Any] = MappingProxyType({})

_CHUNK_BYTES = 1 << 20
_REASON_CHARACTERS = 240

# Keras has error classes for neither; .keras files give the first message, .h5 files the second.
_UNKNOWN_CODE = re.compile(r"Could not locate (?:class|function) '([^']+)'|Unknown \w+: '([^']+)'")

SAFE_MODE_REFUSES = re.compile(r"safe_mode=False|enable_unsafe_deserialization")
"""What Keras says of code in a file."""

LAMBDA_REMEDY = (
    "holds Python code (a Lambda layer), which runs once it is loaded; if you trust it set "
    "model.allow_unsafe: true, else"
)

FOREIGN_FORMATS = {
    ".tflite": "a TensorFlow Lite model, which has no gradients; give the Keras model or "
    "SavedModel that it was converted from",
    ".onnx": "an ONNX model; convert it to a SavedModel (onnx2tf does)",
    **dict.fromkeys(
        (".pt", ".pth", ".pt2", ".safetensors"),
        "a PyTorch model; convert it to a SavedModel (by ONNX, with onnx2tf)",
    ),
}
"""Files of other formats, by extension: what they are and what to do."""


def is_keras_file(uri: str) -> bool:
    """Whether the name is that of a Keras file, not that of a folder.

    >>> is_keras_file("gs://bucket/model.keras"), is_keras_file("models/classifier")
    (True, False)
    """
    return uri.lower().endswith(KERAS_EXTENSIONS)


def list_model(uri: str, storage: Storage) -> dict[str, str]:
    """Files of a model: relative name (empty for a single file) -> path, sorted by name.

    Raises:
      ConfigurationError: There is no such model, or it is of no known format.
    """
    root = storage.absolute(uri.rstrip("/"))
    if is_keras_file(root):
        if not _match(uri, glob.escape(root), storage):
            raise ConfigurationError(f"there is no model file {uri}; correct model.uri")
        return {"": root}
    extension = os.path.splitext(root)[1].lower()
    if extension in FOREIGN_FORMATS:
        raise ConfigurationError(f"model {uri} is {FOREIGN_FORMATS[extension]}")
    entries = _match(uri, join(glob.escape(root), "**"), storage)
    files = {entry.path[len(root) :].lstrip("/"): entry.path for entry in entries}
    if SAVED_MODEL_FILE not in files:
        found = (
            "is no SavedModel folder"
            if files or _match(uri, glob.escape(root), storage)
            else "is not there"
        )
        raise ConfigurationError(
            f"model {uri} {found}; model.uri must be a .keras, .h5 or .hdf5 file "
            f"or a folder that holds {SAVED_MODEL_FILE}"
        )
    return dict(sorted(files.items()))


def model_digest(uri: str, storage: Storage) -> str:
    """SHA-256 of a model's content, in hex, wherever it lies and whatever it is called.

    Every file counts with its name in the folder, its length and its bytes, in the names' order.

    Raises:
      ConfigurationError: There is no such model.
    """
    digest = hashlib.sha256()
    for name, path in list_model(uri, storage).items():
        content = hashlib.sha256()
        with _reading(uri), storage.open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                content.update(chunk)
        named = name.encode(errors="surrogateescape")
        digest.update(b"%d:%b:%b" % (len(named), named, content.digest()))
    return digest.hexdigest()


@contextlib.contextmanager
def local_model(uri: str, storage: Storage) -> Iterator[str]:
    """A local path of the model: its own, or that of a copy deleted on leaving.

    A copy is made of one that is elsewhere, and of one whose path is not UTF-8, as TensorFlow
    takes no other for a SavedModel.

    Raises:
      ConfigurationError: There is no such model, or it cannot be read.
    """
    files = list_model(uri, storage)
    own = storage.absolute(uri.rstrip("/"))
    if "://" not in uri and _is_unicode(own):
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="saliency-atlas-model-") as folder:
        # The name stays: Keras goes by its extension.
        root = os.path.join(folder, to_text(os.path.basename(own)))
        for name, path in files.items():
            copy = os.path.join(root, name) if name else root
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with _reading(uri), storage.open(path) as source, open(copy, "wb") as destination:
                shutil.copyfileobj(source, destination, _CHUNK_BYTES)
        yield root


def _is_unicode(path: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


class Keras2Error(Exception):
    """A file that Keras 2 has saved, with what Keras 3 does not read."""


def open_keras(
    uri: str, path: str, allow_unsafe: bool, code: Mapping[str, Any] = _NO_CODE
) -> keras.Model:
    """Reads a Keras file, without its optimiser and loss.

    Args:
      uri: How messages call it.
      path: Where it is on this machine.
      allow_unsafe: Load code that is in the file.
      code: Classes and functions that it may be made of, by name.

    Raises:
      ConfigurationError: Keras cannot, or will not without `allow_unsafe`.
      Keras2Error: It is for Keras 2 to read.
    """
    import keras

    try:
        return keras.models.load_model(
            path, custom_objects=dict(code), compile=False, safe_mode=not allow_unsafe
        )
    except Exception as error:  # whatever a file can make Keras and custom layers raise
        if _saved_by_keras_2(path):
            raise Keras2Error from error
        if SAFE_MODE_REFUSES.search(str(error)) and not allow_unsafe:
            raise ConfigurationError(
                f"model {uri} {LAMBDA_REMEDY} export it as a SavedModel: {EXPORT}"
            ) from error
        if unknown := _UNKNOWN_CODE.search(str(error)):
            name = unknown[1] or unknown[2]
            raise ConfigurationError(
                f"model {uri} is made of {name!r}, whose code is not here; name its module in "
                f"model.imports, or export it as a SavedModel, which needs none: {EXPORT}"
            ) from error
        raise ConfigurationError(
            f"model {uri} cannot be loaded ({reason(error)}); save it again with Keras 3, or "
            f"export it as a SavedModel: {EXPORT}"
        ) from error


def _saved_by_keras_2(path: str) -> bool:
    """Whether a Keras file says so; what is no such file says nothing."""
    import h5py

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json")).get("keras_version")
        else:
            with h5py.File(path, "r") as file:
                version = file.attrs.get("keras_version")
    except (OSError, KeyError, ValueError, AttributeError, zipfile.BadZipFile):
        return False  # damaged: whoever has tried to load it says how
    return str(version).startswith("2.")


def open_saved_model(uri: str, path: str) -> Any:
    """Reads a SavedModel folder, as `tf.saved_model.load` does.

    Raises:
      ConfigurationError: TensorFlow cannot.
    """
    import tensorflow as tf

    if uri not in _noted:
        _noted.add(uri)
        _LOGGER.warning(
            "model %s is a SavedModel, whose operations may read and write files: load only what "
            "you trust (a .keras file, loaded as it is by default, cannot)",
            uri,
        )
    try:
        return tf.saved_model.load(path)
    except Exception as error:  # whatever a damaged folder can make TensorFlow raise
        raise ConfigurationError(
            f"model {uri} cannot be loaded ({reason(error)}); export it again: {EXPORT}"
        ) from error


def reason(error: BaseException) -> str:
    r"""What went wrong, on one line short enough for a sentence.

    >>> reason(ValueError("Bad weights.\nLong story."))
    'ValueError: Bad weights'
    """
    lines = str(error).strip().splitlines()
    first = lines[0].split(". ")[0].rstrip(".:") if lines else ""
    if len(first) > _REASON_CHARACTERS:
        first = first[:_REASON_CHARACTERS] + "..."
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _match(uri: str, pattern: str, storage: Storage) -> list[FileEntry]:
    with _reading(uri):
        return storage.match(pattern)


@contextlib.contextmanager
def _reading(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"model {uri} cannot be read ({reason(error)}); check model.uri and its permissions"
        ) from error
