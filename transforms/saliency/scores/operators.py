"""Operators: the score g(f, x, y) of an example whose gradient is taken."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.files import reason
from transforms.saliency.scores.detection import detection
from transforms.saliency.scores.targets import target_argument

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.models.loading import LoadedModel, OutputReading

Operator = Callable[[Callable[["tf.Tensor"], "tf.Tensor"], "tf.Tensor", "tf.Tensor"], "tf.Tensor"]
"""g(model, inputs (N, ...), targets) -> (N,) scores, each of its own example alone.

In a run `targets` are (N, C) one-hot where the model returns (N, C) scores of classes, C at
least 2; where it returns anything else they are the (N,) int32 labels, or the class that
`explain.target` names.
`Saliency` passes on what it is given.

It is traced as it is: one that branches on tensors in Python needs `@tf.function`.
"""

CLASSIFICATION = "classification"

OPERATOR_NAMES = ("classification", "regression", "segmentation", "detection")
"""Those that are built in."""


def classification(
    model: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """The model's output at the target: sum of f(x) * y.

    Args:
      model: Returns (N, outputs).
      inputs: (N, ...).
      targets: (N, outputs), one-hot.

    Returns:
      (N,) scores of the outputs' dtype.
    """
    import tensorflow as tf

    outputs = model(inputs)
    return tf.reduce_sum(outputs * tf.cast(targets, outputs.dtype), axis=-1)


def regression(
    model: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """The model's output whose number the target is.

    Args:
      model: Returns (N, outputs).
      inputs: (N, ...).
      targets: (N,) integers.

    Returns:
      (N,) scores of the outputs' dtype.
    """
    import tensorflow as tf

    return tf.gather(model(inputs), targets, axis=-1, batch_dims=1)


def segmentation(
    model: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """The mean output of a class over the zone where it is the largest; 0 where there is none.

    Args:
      model: Returns (N, ..., C), such as (N, H, W, C).
      inputs: (N, ...).
      targets: (N,) integers, the classes.

    Returns:
      (N,) scores of the outputs' dtype.
    """
    import tensorflow as tf

    outputs = model(inputs)
    classes = outputs.shape[-1]
    flat = tf.reshape(outputs, (tf.shape(outputs)[0], -1, classes))
    own = tf.gather(flat, targets, axis=-1, batch_dims=1)
    largest = tf.argmax(flat, axis=-1, output_type=targets.dtype)
    zone = tf.cast(largest == targets[:, tf.newaxis], outputs.dtype)
    size = tf.reduce_sum(tf.cast(zone, tf.float32), axis=1)
    share = zone / tf.cast(tf.maximum(size, 1.0), outputs.dtype)[:, tf.newaxis]
    return tf.reduce_sum(own * share, axis=1)


def output_reading(operator: str | Operator | None) -> OutputReading:
    """What an operator takes a model's outputs for."""
    resolved = resolve_operator(operator)
    if resolved is classification:
        return "classes"
    if resolved is segmentation:
        return "channels"
    if resolved is detection:
        return "proposals"
    return "values" if resolved is regression else "any"


def resolve_operator(operator: str | Operator | None) -> Operator:
    """The operator a name stands for.

    Args:
      operator: None is `classification`; a callable; one of `OPERATOR_NAMES`; or
        `package.module:function`.

    Raises:
      ConfigurationError: It cannot be imported, is not there or cannot be called.
    """
    if operator is None or operator == CLASSIFICATION:
        return classification
    if isinstance(operator, str) and operator in OPERATOR_NAMES:
        return {
            "regression": regression,
            "segmentation": segmentation,
            "detection": detection,
        }[operator]
    if not isinstance(operator, str):
        if not callable(operator):
            raise ConfigurationError(
                f"operator is {operator!r}, which cannot be called; give a function "
                "g(model, inputs, targets) or its name"
            )
        return operator
    module_name, separator, attribute = operator.partition(":")
    if not (module_name and separator and attribute):
        raise ConfigurationError(
            f"operator {operator!r} is unknown; give {', '.join(map(repr, OPERATOR_NAMES))} or "
            "'package.module:function'"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ConfigurationError(
            f"operator {operator!r}: {module_name} cannot be imported ({reason(error)}); install "
            "it or put its folder on PYTHONPATH"
        ) from error
    function = getattr(module, attribute, None)
    if function is None:
        raise ConfigurationError(f"operator {operator!r}: {module_name} has no {attribute!r}")
    if not callable(function):
        raise ConfigurationError(
            f"operator {operator!r} is a {type(function).__name__}, which cannot be called; "
            "name a function g(model, inputs, targets)"
        )
    resolved: Operator = function
    return resolved


def scores_of(
    model: Callable[[tf.Tensor], tf.Tensor],
    operator: Operator,
    inputs: tf.Tensor,
    targets: Any,
) -> tf.Tensor:
    """Applies an operator and insists on one score per example.

    Returns:
      (N,) scores, of the operator's dtype.

    Raises:
      ConfigurationError: It returns another shape.
    """
    import tensorflow as tf

    scores = tf.convert_to_tensor(operator(model, inputs, targets))
    if not scores.shape.is_compatible_with((inputs.shape[0],)):
        name = getattr(operator, "__name__", repr(operator))
        raise ConfigurationError(
            f"operator {name!r} returns {scores.shape} for {inputs.shape[0]} examples; it must "
            f"return one score per example, ({inputs.shape[0]},)"
        )
    return tf.ensure_shape(scores, (inputs.shape[0],))


def check_operator(model: LoadedModel, operator: Operator, input_shape: tuple[int, ...]) -> None:
    """Traces an operator with a small batch; computes nothing, as a model may refuse zeros.

    Args:
      model: What is explained.
      operator: The function to be checked.
      input_shape: The shape of one input, without the batch axis.

    Raises:
      ConfigurationError: It fails, or does not return one score per example.
    """
    import tensorflow as tf

    # Not as many examples as classes: sums over the wrong axis must not pass.
    examples = model.batch or (3 if model.classes == 2 else 2)  # noqa: PLR2004 - see above

    fed = [tf.zeros((examples, *each.known_shape), each.dtype) for each in model.fed_inputs]
    model = model.feeding(fed)

    def traced(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return scores_of(model, operator, inputs, target_argument(labels, model.classes))

    signature = [
        tf.TensorSpec((examples, *input_shape), model.input_dtype),
        tf.TensorSpec((examples,), tf.int32),
    ]
    try:
        tf.function(traced, input_signature=signature, autograph=False).get_concrete_function()
    except ConfigurationError:
        raise
    except Exception as error:  # whatever the user's function raises
        name = getattr(operator, "__name__", repr(operator))
        raise ConfigurationError(
            f"operator {name!r} fails on {examples} examples of shape {input_shape} "
            f"({reason(error)}); it is called as g(model, inputs, targets), and needs "
            "@tf.function if it branches on tensors"
        ) from error
