"""Methods that explain a layer's activations: maps of its places, brought to the input's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from transforms.errors import ConfigurationError
from transforms.formats.source import InputSpec
from transforms.saliency.attribution import Needs
from transforms.saliency.contract.method import MapForm, Method, Sign, State, maps_of_positions
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

_SIDES = 2


class LayerMethod(Method):
    """A method of one call whose state is (N, K, h, w): a value for each of a layer's places."""

    needs: ClassVar[Needs] = "layer"
    signs: ClassVar[tuple[Sign, ...]] = ("positive", "signed", "absolute")
    reducer: ClassVar[Reducer | None] = None

    def of_inputs(self, inputs: InputSpec) -> Method:
        """Refuses inputs whose maps have other than two sides."""
        if len(inputs.positions) != _SIDES:
            raise ConfigurationError(
                f"explain.method is {self.name!r}, whose maps have two sides, but "
                f"source.input.shape is {list(inputs.shape)}; choose integrated_gradients"
            )
        return self

    def finish(
        self, state: State, inputs: tf.Tensor | None, scores: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The values of the layer's places; see `Method`."""
        del inputs, scores
        return state[0], {}

    def maps(self, values: tf.Tensor, form: MapForm) -> tf.Tensor:
        """Maps (M, H, W, 1) or (M, H, W) of values (M, h, w): the sign is taken, then the size."""
        import tensorflow as tf

        signed = maps_of_positions(values, form)
        images = signed if form.has_channels else signed[..., tf.newaxis]
        resized = tf.image.resize(images, form.positions, "bilinear")
        return resized if form.has_channels else resized[..., 0]


def weighed_activations(weights: tf.Tensor, activations: tf.Tensor) -> tf.Tensor:
    """sum_k w_k A_k.

    Args:
      weights: (N, K, c).
      activations: (N, h, w, c).

    Returns:
      (N, K, h, w).
    """
    import tensorflow as tf

    # Not as a matrix product, whose bits depend on how many examples there are.
    products = weights[:, :, tf.newaxis, tf.newaxis] * activations[:, tf.newaxis]
    return tf.reduce_sum(products, axis=-1)
