"""What a model has made of the first examples, remembered, so that it is not run on them again.

It is kept under a digest of all that it depends on: the traced model with the values of its
weights, its layers, what it is given, the examples, this package's code, its libraries, the
processor. A model that is refused, or that refuses one of the examples, is tried again every time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.models.expectations import LayerMoments, Rescaled
from transforms.models.layers import list_layers
from transforms.models.loading import LoadedModel
from transforms.process.cache_folder import cache_folder
from transforms.process.kept_files import KeptFiles
from transforms.saliency.attribution import Beside
from transforms.saliency.engines.function_digest import function_digest
from transforms.saliency.engines.surroundings import surroundings
from transforms.saliency.first_outputs.outputs import FirstOutputs, first_outputs
from transforms.saliency.program import ProgramSpec

_FOLDER = "first-outputs"
_SUFFIX = ".outputs"
_MOST_FILES = 256
_MOST_BYTES = 2**26
_MOST_BYTES_OF_ONE = 2**20
"""Those of larger outputs, such as an image's segmentation, are no more than the run computes."""

_MOMENTS = ("trained_mean", "trained_variance", "mean", "variance")

_LOGGER = logging.getLogger(__name__)


def find_first_outputs(
    model: LoadedModel,
    spec: ProgramSpec,
    inputs: npt.NDArray[np.float32],
    beside: Beside = (),
) -> FirstOutputs | None:
    """What `first_outputs` gives, remembered from an earlier run of the same where there was one.

    Args:
      model: What is explained.
      spec: What is computed.
      inputs: (n, *decoded_shape) float32, not yet scaled; none tell nothing.
      beside: What feeds other inputs of the model, each (n, ...).

    Raises:
      ConfigurationError: As `first_outputs` does.
    """
    folder = cache_folder()
    key = None if folder is None or not len(inputs) else _key(model, spec, (inputs, *beside))
    if folder is None or key is None:
        return first_outputs(model, spec, inputs, beside)
    files = KeptFiles(folder / _FOLDER, _SUFFIX, most_files=_MOST_FILES, most_bytes=_MOST_BYTES)
    kept = files.read(key)
    if kept is not None:
        return read_outputs(kept)
    found = first_outputs(model, spec, inputs, beside)
    if found is not None and found.outputs.nbytes <= _MOST_BYTES_OF_ONE:
        try:
            files.keep(key, [written_outputs(found)])
        except OSError as error:
            _LOGGER.info("what the model makes of the first examples is not remembered: %s", error)
    return found


def _key(model: LoadedModel, spec: ProgramSpec, arrays: Sequence[npt.NDArray[Any]]) -> str | None:
    """Of what the outputs depend on; None where not all of it is known."""
    traced = function_digest(model.traced)
    if traced is None:
        return None
    keras_model = model.function.keras_model
    layers = [] if keras_model is None else list_layers(keras_model)
    named = [(each.path, type(each.layer).__qualname__) for each in layers]
    given = (spec.inputs, model.reading, model.batch, model.fed_inputs)
    digest = hashlib.sha256(f"{traced}\n{given}\n{named}\n{surroundings()}".encode())
    for array in arrays:
        digest.update(f"\n{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def written_outputs(found: FirstOutputs) -> bytes:
    """As the bytes of a file."""
    arrays: dict[str, Any] = {"outputs": found.outputs}
    words: dict[str, Any] = {"moments": None, "rescaling": None}
    if found.moments is not None:
        arrays |= {name: getattr(found.moments, name) for name in _MOMENTS}
        words["moments"] = {"layer": found.moments.layer, "values": found.moments.values}
    if found.rescaling is not None:
        words["rescaling"] = dataclasses.asdict(found.rescaling)
    file = io.BytesIO()
    np.savez(file, words=np.array(json.dumps(words)), **arrays)
    return file.getvalue()


def read_outputs(content: bytes) -> FirstOutputs:
    """What `written_outputs` was given."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        words = json.loads(str(file["words"]))
        moments, rescaling = words["moments"], words["rescaling"]
        return FirstOutputs(
            file["outputs"],
            None
            if moments is None
            else LayerMoments(**moments, **{name: file[name] for name in _MOMENTS}),
            None if rescaling is None else Rescaled(**rescaling),
        )
