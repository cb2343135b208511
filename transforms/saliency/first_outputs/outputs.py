"""What a model makes of the first examples, and whether it is a function of its input at all."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transforms.errors import ConfigurationError
from transforms.models.expectations import (
    LayerMoments,
    MomentsRecorder,
    Rescaled,
    first_rescaling,
)
from transforms.models.files import reason
from transforms.models.loading import LoadedModel
from transforms.models.training_mode import check_function_of_input
from transforms.saliency.attribution import Beside
from transforms.saliency.program import ProgramSpec, explained_inputs

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class FirstOutputs:
    """What a model makes of the first examples.

    Attributes:
      outputs: (n, ...) as they are explained.
      moments: Of what its first normalising layer is given; None where it has none, or is no Keras
        model.
      rescaling: Its first layer, where that is a `Rescaling`.
    """

    outputs: npt.NDArray[np.float64]
    moments: LayerMoments | None
    rescaling: Rescaled | None


def first_outputs(
    model: LoadedModel,
    spec: ProgramSpec,
    inputs: npt.NDArray[np.float32],
    beside: Beside = (),
) -> FirstOutputs | None:
    """Runs the model on the first examples; refuses one that is not a function of its input.

    Args:
      model: What is explained.
      spec: What is computed.
      inputs: (n, *decoded_shape) float32, not yet scaled; none tell nothing.
      beside: What feeds other inputs of the model, each (n, ...).

    Returns:
      What it makes of them; None where there are none, or it refuses one of them.

    Raises:
      ConfigurationError: Outputs change from call to call, or with the batch's other examples.
    """
    import tensorflow as tf

    if not len(inputs):
        return None
    title, keras_model = model.function.title, model.function.keras_model
    recorder = MomentsRecorder(keras_model)

    @functools.partial(tf.function, autograph=False)
    def traced(batch: tf.Tensor, *fed: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with recorder.listening() as given:
            taking, explained = explained_inputs(batch, model.feeding(fed), spec)
            outputs = taking(explained)
        return outputs, recorder.moments(given)

    found: list[dict[str, tf.Tensor]] = []

    def call(batch: tf.Tensor, *fed: tf.Tensor) -> tf.Tensor:
        try:
            concrete = traced.get_concrete_function(batch, *fed)
        except ConfigurationError:
            raise
        except Exception as error:  # whatever a user's model can raise
            raise ConfigurationError(
                f"{title} cannot be applied to {len(batch)} inputs of shape "
                f"{spec.inputs.decoded_shape} at once ({reason(error)}); save it so that it takes "
                "batches of any size"
            ) from error
        outputs, moments = concrete(batch, *fed)
        found.append(moments)
        return outputs

    outputs = check_function_of_input(title, call, inputs, model.training, model.batch, beside)
    if outputs is None:
        return None
    # The first call is of these examples alone.
    return FirstOutputs(outputs, recorder.result(found[0]), first_rescaling(keras_model))
