"""Batches: arrays, tensors and datasets cut into what the compiled function takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.formats.source import IMAGE_RANK

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.models.inputs import ModelInput

Batch = tuple["tf.Tensor", "tf.Tensor | None"]
"""Inputs (n, ...) of the model's dtype, and targets (n, ...) or None."""

_PAIR = 2


def array_batches(
    inputs: tf.Tensor | npt.ArrayLike,
    targets: tf.Tensor | npt.ArrayLike | None,
    size: int | None,
    dtype: str,
) -> Iterator[Batch]:
    """Slices of arrays, `size` examples each (None: all at once), the last one shorter."""
    inputs, targets = _as_array(inputs), None if targets is None else _as_array(targets)
    if inputs.shape.rank == 0:
        raise ConfigurationError("inputs is a scalar; give (N, W), (N, T, W) or (N, H, W, C)")
    if targets is not None and (targets.shape.rank == 0 or len(targets) != len(inputs)):
        raise ConfigurationError(
            f"targets has shape {targets.shape} for {len(inputs)} inputs; give one row an input"
        )
    for start in range(0, len(inputs), size or len(inputs) or 1):
        end = start + (size or len(inputs))
        yield _cast(inputs[start:end], dtype), None if targets is None else targets[start:end]


def dataset_batches(
    dataset: tf.data.Dataset,
    targets: tf.Tensor | npt.ArrayLike | None,
    size: int | None,
    model_input: ModelInput,
) -> Iterator[Batch]:
    """Batches of a dataset, read as they are asked for (`size` None: all in one).

    Args:
      dataset: Its elements are inputs or (inputs, targets), batched or not.
      targets: (N, ...) for a dataset of inputs alone.
      size: Examples per batch; the last one is shorter.
      model_input: Tells a batch from an example.
    """
    import tensorflow as tf

    spec = dataset.element_spec
    paired = isinstance(spec, tuple) and len(spec) == _PAIR
    if not (paired or isinstance(spec, tf.TensorSpec)):
        raise ConfigurationError(
            f"the dataset's elements are {spec}; give a dataset of inputs or (inputs, targets)"
        )
    if paired and targets is not None:
        raise ConfigurationError("targets are given twice: in the dataset and beside it; give one")
    batched = _is_batched(spec if paired else (spec, None), model_input)
    examples = dataset if paired else dataset.map(lambda inputs: (inputs,))
    if size is not None:
        batches = iter(examples.rebatch(size) if batched else examples.batch(size))
    else:
        everything = list(examples if batched else examples.batch(1))
        batches = iter(
            [tuple(tf.concat(part, 0) for part in zip(*everything, strict=True))]
            if everything
            else []
        )
    beside = None if targets is None else _as_array(targets)
    read = 0
    for batch in batches:
        count = len(batch[0])
        rows = batch[1] if paired else None if beside is None else beside[read : read + count]
        read += count
        if beside is not None and read > len(beside):
            raise ConfigurationError(
                f"targets has {len(beside)} rows, but the dataset has more inputs"
            )
        yield _cast(batch[0], model_input.dtype), rows
    if beside is not None and read < len(beside):
        raise ConfigurationError(f"targets has {len(beside)} rows for the dataset's {read} inputs")


def _is_batched(spec: tuple[Any, Any], model_input: ModelInput) -> bool:
    inputs, targets = spec
    rank: int | None = inputs.shape.rank
    if rank is not None and model_input.shape is not None:
        if rank - len(model_input.shape) in (0, 1):
            return rank > len(model_input.shape)
        raise ConfigurationError(
            f"the dataset's inputs are {inputs.shape}, but the model takes {model_input.shape}, "
            "batched or not"
        )
    if rank in (1 + IMAGE_RANK, 1):  # an image is one of a batch, a row of numbers an example
        return rank != 1
    # One-hot targets are (outputs,) or (N, outputs).
    if rank is not None and targets is not None and targets.shape.rank in (1, 2):
        return bool(targets.shape.rank == 2)  # noqa: PLR2004 - as the line above says
    raise ConfigurationError(
        f"the dataset's inputs are {inputs.shape}: whether that is a batch cannot be told, as the "
        "model does not say what it takes; call the model once before, or give tensors"
    )


def _as_array(values: tf.Tensor | npt.ArrayLike) -> Any:
    import tensorflow as tf

    if tf.is_tensor(values):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ConfigurationError(
            f"arrays of {array.dtype} cannot be explained; give numbers of one shape"
        )
    return tf.convert_to_tensor(array)


def _cast(inputs: tf.Tensor, dtype: str) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(inputs, dtype)
