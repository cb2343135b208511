"""Which of TensorFlow's errors say that an example, or memory, is at fault rather than the code."""

from __future__ import annotations

from transforms.formats.images.graphs import reason_of
from transforms.saliency.batching.isolation import Errors


def model_errors() -> Errors:
    """What TensorFlow raises when a model cannot take an input, or a device holds no more.

    An exception in Python that a model calls back (tf.py_function) comes as one of these too.
    """
    import tensorflow as tf

    return Errors(
        of_data=(
            tf.errors.InvalidArgumentError,
            tf.errors.OutOfRangeError,
            tf.errors.UnknownError,
            tf.errors.DataLossError,
        ),
        of_memory=(tf.errors.ResourceExhaustedError,),
        reason=reason_of,
    )
