"""The contract that methods, engines and explainers share: what is computed of an example.

    model, operator, targets -> attribute() -> Attribution -> a method's maps -> statistics, codes

Explainers say *what* is explained: `Saliency` arrays in memory, `BlockExplainer` the blocks of a
run. Engines say *who* computes: each compiles an `AttributionFunction` and gives back an
`Attribution`. Methods say what *maps* are made of it. All three stand above this module, which
imports nothing of them; whoever explains differentiates, pads a short batch and refuses what cannot
be explained here.

What a call gives back is what a method `needs`: the scores alone; the gradients of the scores by
the inputs, too; or those by the activations of a layer, and the activations. A method of several
steps calls the compiled function once per step, from the host, as not every engine has loops. The
first call, at the unperturbed input, chooses the targets; all others are given them as labels, so
that each step explains the same classes.

Gradients keep their signs until a method makes maps of them. Where maps are the largest magnitudes
over channels these are given back instead, a third of the data (`ProgramSpec.hands_over_maps`).
Several inputs would make `inputs` and `gradients` structures of tensors; scores and targets would
stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.formats.source import IMAGE_RANK, Channels, seems_channels_first
from transforms.saliency.scores.detection import COORDINATES, detection
from transforms.saliency.scores.operators import (
    Operator,
    classification,
    regression,
    scores_of,
    segmentation,
)
from transforms.saliency.scores.targets import Targets, TargetSpec

if TYPE_CHECKING:
    import tensorflow as tf

    from transforms.models.loading import LoadedModel

Model = Callable[["tf.Tensor"], "tf.Tensor"]
"""Returns outputs (N, ...) of inputs (N, ...)."""

Arrays = tuple[npt.NDArray[Any], ...]
"""What a mini-batch is made of; each array has one row per example."""

Beside = Sequence[npt.NDArray[Any]]
"""What feeds other inputs than the explained one, each (N, ...), of the type that it takes."""

LayeredModel = Callable[["tf.Tensor"], "tuple[tf.Tensor, tf.Tensor]"]
"""Returns outputs (N, ...) of inputs (N, ...), and the activations (N, h, w, c) of a layer."""

Needs: TypeAlias = Literal["score", "gradient", "layer"]
"""What a call gives back: scores; their gradients by the inputs, too; or by a layer's activations,
and these."""

Results = dict[str, npt.NDArray[Any]]
"""What is computed of a mini-batch, by name; each array has one row per example."""


@dataclasses.dataclass(frozen=True)
class Attribution:
    """What explaining N examples for K targets each gives, before maps are made of it.

    Attributes:
      outputs: (N, ...) float32, the model's outputs; (N, C) where they are scores of C classes.
      targets: (N, K) int32, the classes explained; None where only the operator knows them.
      scores: (N, K) float32, the operator's values.
      gradients: (N, K, ...) float32, the gradient of each score by the inputs, or by a layer's
        activations, or what of it is handed over; None where scores alone are needed.
      activations: (N, h, w, c) float32, of the layer that gradients are by; None where they are by
        the inputs.
    """

    outputs: tf.Tensor
    targets: tf.Tensor | None
    scores: tf.Tensor
    gradients: tf.Tensor = None
    activations: tf.Tensor = None

    @property
    def fields(self) -> tuple[tf.Tensor, ...]:
        """What there is of it, in order: what a call that needs less leaves out is at the end."""
        fields = self.outputs, self.targets, self.scores, self.gradients, self.activations
        count = len(fields) - (self.activations is None) - (self.gradients is None)
        return fields[:count]


@dataclasses.dataclass(frozen=True)
class AttributionFunction:
    """What an engine compiles.

    Attributes:
      call: (inputs (n, *shape) float32, labels (n, *label_shape) int32, loss scale, and what feeds
        other inputs) -> `Attribution`, with targets; to be traced for any n, or for `batch_size`
        alone if `separable` is false. Scores are multiplied by the loss scale before they are
        differentiated, gradients divided by it.
      shape: The shape of one input.
      batch_size: Examples in each call of what is compiled.
      separable: Whether a batch may be computed in parts: the model takes batches of any size.
      label_shape: The shape of one example's label; () but where several targets are given.
      beside: Shape and dtype of one example's values for each input that is fed beside.
    """

    call: Callable[..., Attribution]
    shape: tuple[int, ...]
    batch_size: int
    separable: bool = True
    label_shape: tuple[int, ...] = ()
    beside: tuple[tuple[tuple[int, ...], str], ...] = ()

    def trace(self, size: int | None, loss_scale: float = 1.0) -> Any:
        """The concrete function of `size` examples, None for any number.

        It returns `Attribution.fields`.
        """
        import tensorflow as tf

        def attribute_batch(
            inputs: tf.Tensor, labels: tf.Tensor, *beside: tf.Tensor
        ) -> tuple[tf.Tensor | None, ...]:
            return self.call(inputs, labels, loss_scale, *beside).fields

        signature = [
            tf.TensorSpec((size, *self.shape), tf.float32, name="inputs"),
            tf.TensorSpec((size, *self.label_shape), tf.int32, name="labels"),
            *(
                tf.TensorSpec((size, *shape), dtype, name=beside_name(number))
                for number, (shape, dtype) in enumerate(self.beside)
            ),
        ]
        return tf.function(
            attribute_batch, input_signature=signature, autograph=False
        ).get_concrete_function()


def beside_name(number: int) -> str:
    """What an argument is called in graphs that feeds another input."""
    return f"beside_{number}"


def attribute(
    model: Model,
    operator: Operator,
    inputs: tf.Tensor,
    choose: Callable[[tf.Tensor], Targets],
    loss_scale: float = 1.0,
    *,
    layered: LayeredModel | None = None,
) -> Attribution:
    """Scores of the inputs' targets, and the gradient of each by the inputs, or by a layer.

    Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034, section 3. The forward pass that tells which
    classes to explain is the one that is differentiated: an operator that calls the model on the
    same inputs gets the same outputs, not a second pass.

    Args:
      model: f; returns (N, ...) for (N, ...) inputs.
      operator: g(model, inputs, targets) -> (N,).
      inputs: (N, ...), floating-point.
      choose: Gives the K targets of each example from the model's outputs.
      loss_scale: What is differentiated is the score times this, and divided by it afterwards, so
        that small gradients do not vanish where some operations have few bits.
      layered: f with the layer that gradients are by; None differentiates by the inputs.

    Raises:
      ConfigurationError: The inputs are integers, the operator does not return one score per
        example, or its score does not depend on the inputs in a differentiable way.
    """
    import tensorflow as tf

    if not inputs.dtype.is_floating:
        raise ConfigurationError(
            f"inputs are {inputs.dtype.name}, which have no gradient; convert them to float32"
        )
    # Only the inputs are watched: gradients by the weights are never asked for.
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs, by = (model(inputs), inputs) if layered is None else layered(inputs)
        targets, scores = scores_at(model, operator, inputs, outputs, choose)
    gradients = [_gradient(tape, score, by, loss_scale) for score in scores]
    found = _attribution(outputs, targets, scores, tf.stack(gradients, axis=1))
    if layered is None:
        return found
    return dataclasses.replace(found, activations=tf.cast(by, tf.float32))


def score(
    model: Model, operator: Operator, inputs: tf.Tensor, choose: Callable[[tf.Tensor], Targets]
) -> Attribution:
    """Scores of the inputs' targets, without gradients; the arguments are `attribute`'s.

    Raises:
      ConfigurationError: The operator does not return one score per example.
    """
    outputs = model(inputs)
    return _attribution(outputs, *scores_at(model, operator, inputs, outputs, choose))


def scores_at(
    model: Model,
    operator: Operator,
    inputs: tf.Tensor,
    outputs: tf.Tensor,
    choose: Callable[[tf.Tensor], Targets],
) -> tuple[Targets, list[tf.Tensor]]:
    """The targets, and of each of these the scores (N,), once the model has been called.

    Args:
      model: As `attribute` takes it.
      operator: The same.
      inputs: The same.
      outputs: The model's, of these inputs: the operator gets them for a call at the inputs.
      choose: As `attribute` takes it.
    """

    def remembered(values: tf.Tensor) -> tf.Tensor:
        return outputs if values is inputs else model(values)

    targets = choose(outputs)
    arguments = targets.arguments
    return targets, [scores_of(remembered, operator, inputs, argument) for argument in arguments]


def _attribution(
    outputs: tf.Tensor, targets: Targets, scores: list[tf.Tensor], *others: tf.Tensor
) -> Attribution:
    import tensorflow as tf

    return Attribution(
        tf.cast(outputs, tf.float32),
        targets.classes,
        tf.cast(tf.stack(scores, axis=1), tf.float32),
        *others,
    )


def _gradient(
    tape: tf.GradientTape, scores: tf.Tensor, inputs: tf.Tensor, loss_scale: float
) -> tf.Tensor:
    """Gradient of (N,) scores by the inputs, or by activations, in float32."""
    import tensorflow as tf

    gradient = None
    if scores.dtype.is_floating:
        # The gradient of the sum is each example's own: a score depends on its example alone.
        seed = loss_scale * tf.ones_like(scores)
        gradient = tape.gradient(scores, inputs, output_gradients=seed)
    if gradient is None:
        raise ConfigurationError(
            "the explained score does not depend on the inputs in a differentiable way; choose "
            "another output_layer or operator (rounding, argmax and integer casts have no gradient)"
        )
    return tf.cast(tf.convert_to_tensor(gradient), tf.float32) / loss_scale


def pad(batch: Any, size: int) -> Any:
    """Fills a short batch up with copies of its first example.

    Copies of a real example, as a model may refuse zeros.

    Args:
      batch: (n, ...) array or tensor, n from 1 to `size`.
      size: Examples that the compiled function takes.

    Returns:
      (size, ...), the batch itself where it is full.
    """
    if len(batch) == size:
        return batch
    numbers = np.arange(size)
    rows = np.where(numbers < len(batch), numbers, 0)
    if isinstance(batch, np.ndarray):
        return batch[rows]
    import tensorflow as tf

    return tf.gather(batch, rows)


def check_explained(model: LoadedModel, operator: Operator, target: TargetSpec) -> None:
    """Refuses a model whose output a run can not explain in this way.

    Args:
      model: What is explained.
      operator: `classification` needs outputs (N, classes), `regression` (N, outputs),
        `segmentation` (N, ..., classes), `detection` (N, proposals, 4 + classes), other operators
        what they like.
      target: Which classes; `predicted` and `top` are chosen among scores of classes only.

    Raises:
      ConfigurationError: The output is not what the operator or the target needs.
    """
    if operator is regression:
        if len(model.output_shape) != 1:
            raise ConfigurationError(
                f"explain.operator is 'regression', but the model returns {_rows(model)}; it needs "
                "(N, outputs): choose another output_layer, or an operator of your own"
            )
        if target.kind != "class":
            raise ConfigurationError(
                f"explain.target is {target.kind!r}, but explain.operator is 'regression', which "
                "explains one output whatever the label is; give {class: 0} for the first output"
            )
    if operator is segmentation and len(model.output_shape) < 2:  # noqa: PLR2004 - (..., C)
        raise ConfigurationError(
            f"explain.operator is 'segmentation', but the model returns {_rows(model)}; it needs "
            "scores of classes at each position, such as (N, H, W, classes): choose another "
            "output_layer, or classification"
        )
    if operator is detection and not _are_proposals(model.output_shape):
        raise ConfigurationError(
            f"explain.operator is 'detection', but the model returns {_rows(model)}; it needs "
            "boxes before suppression, (N, proposals, 4 + classes), each with its corners [ymin, "
            "xmin, ymax, xmax] and the scores of its classes: join the outputs of a detector so"
        )
    target.check(model.outputs if operator is classification else model.classes)
    if operator in (regression, segmentation, detection) and target.kind == "class":
        target.check(model.explicable)


def _are_proposals(shape: tuple[int | None, ...]) -> bool:
    last = shape[-1] if len(shape) == 2 else None  # noqa: PLR2004 - (proposals, 4 + classes)
    return last is not None and last > COORDINATES


def _rows(model: LoadedModel) -> str:
    return "(" + ", ".join(["N", *map(str, model.output_shape)]) + ")"


def check_inputs(inputs: tf.Tensor, channels: Channels | None = None) -> None:
    """Refuses a batch of inputs that no map can be made of.

    Args:
      inputs: The batch.
      channels: Where images have their channels; None is last.

    Raises:
      ConfigurationError: It is not (N, W), (N, T, W) or (N, H, W, C); or (N, C, H, W) where
        channels are first.
    """
    if not 1 <= inputs.shape.rank - 1 <= IMAGE_RANK:
        raise ConfigurationError(
            f"inputs has shape {inputs.shape}; give (N, W), (N, T, W) or (N, H, W, C)"
        )
    if channels is None and seems_channels_first(tuple(inputs.shape[1:])):
        raise ConfigurationError(
            f"inputs has shape {inputs.shape}, which looks like channels first; give "
            "channels='first', or 'last' if the channels do come last"
        )
    if channels == "first" and inputs.shape.rank - 1 != IMAGE_RANK:
        raise ConfigurationError(
            f"channels is 'first', but inputs has shape {inputs.shape}; only images have channels, "
            "so leave it out"
        )


def check_targets(targets: tf.Tensor | None, count: int, classes: int) -> None:
    """Refuses targets that do not name one class of each example.

    Args:
      targets: What is given as one-hot targets; None where nothing is.
      count: How many examples there are.
      classes: How many classes the model has.

    Raises:
      ConfigurationError: They are missing or of another shape than (count, classes).
    """
    remedy = f"give one-hot targets (N, {classes}), such as tf.one_hot(labels, {classes})"
    if targets is None:
        raise ConfigurationError(f"targets is missing; {remedy}")
    if tuple(targets.shape) != (count, classes):
        raise ConfigurationError(
            f"targets has shape {targets.shape} for {count} inputs and {classes} outputs; {remedy}"
        )
