"""The steps of a method: calls of a compiled function from the host, added up on the device.

    first call (chooses targets) -> begin -> perturb -> call (same targets) -> accumulate -> ...

A loop inside the graph would keep out engines that have none. What lies between two calls is
compiled, and so little that a method of k calls takes k times as long as one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from transforms.saliency.attribution import Attribution
from transforms.saliency.contract.method import Method, State, SteppedMethod

if TYPE_CHECKING:
    import tensorflow as tf

Call = Callable[[Any], Attribution]
"""The compiled function of perturbed inputs (N, *shape), for the targets of the first call."""

_MOST_COMPILED = 16


@functools.lru_cache(maxsize=_MOST_COMPILED)
def steps_of(method: Method, specs: tuple[tf.TensorSpec, ...], shape: tuple[int, ...]) -> Steps:
    """The steps of a method, compiled once in a process for equal arguments, which are `Steps`'."""
    return Steps(method, specs, shape)


class Steps:
    """Runs a method's steps. Safe to share between threads.

    Args:
      method: Of one call or of several.
      specs: Of `Attribution.fields`, with any number of examples.
      shape: Of one input.

    Attributes:
      state: Specifications of what `run` returns as the state.
      calls: Of the compiled function, the first among them.
    """

    def __init__(
        self, method: Method, specs: Sequence[tf.TensorSpec], shape: tuple[int, ...]
    ) -> None:
        import tensorflow as tf

        def begin(*fields: tf.Tensor) -> State:
            return method.begin(Attribution(*fields))

        self._method = method
        self.calls = method.calls
        self._begin = tf.function(begin, input_signature=specs, autograph=False)
        traced = self._begin.get_concrete_function()
        self.state = tuple(tf.TensorSpec(each.shape, each.dtype) for each in traced.outputs)
        if not isinstance(method, SteppedMethod):
            return

        def accumulate(
            state: State, step: tf.Tensor, keys: tf.Tensor, fields: tuple[tf.Tensor, ...]
        ) -> State:
            return method.accumulate(state, step, keys, Attribution(*fields))

        step = tf.TensorSpec((), tf.int32)
        keys = tf.TensorSpec(method.key_shape, tf.uint64)
        inputs = tf.TensorSpec((None, *shape), tf.float32)
        self._perturb = tf.function(
            method.perturb, input_signature=[inputs, step, keys], autograph=False
        )
        self._accumulate = tf.function(
            accumulate, input_signature=[self.state, step, keys, tuple(specs)], autograph=False
        )
        self._perturb.get_concrete_function()  # traced now, not at first use
        self._accumulate.get_concrete_function()

    def run(
        self, first: Attribution, call: Call, inputs: tf.Tensor, ids: Sequence[str], calls: int
    ) -> State:
        """Makes the method's calls for a mini-batch, after the first.

        Args:
          first: What the call at the unperturbed input gave.
          call: The compiled function.
          inputs: (N, *shape) float32, unscaled.
          ids: The examples'.
          calls: How many calls to make in all, at most the method's.

        Returns:
          The state after all steps.
        """
        import tensorflow as tf

        state: State = self._begin(*_tensors(first))
        if isinstance(self._method, SteppedMethod):
            for number in range(1, calls):
                step = tf.constant(number, tf.int32)
                keys = tf.constant(self._method.keys(number, ids), tf.uint64)
                result = call(self._perturb(inputs, step, keys))
                state = self._accumulate(state, step, keys, _tensors(result))
        return state


def _tensors(attribution: Attribution) -> tuple[tf.Tensor, ...]:
    import tensorflow as tf

    return tuple(tf.convert_to_tensor(field) for field in attribution.fields)
