"""Signatures of SavedModels as functions, and functions whose variables are constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms.errors import ConfigurationError
from transforms.models.functions import ModelFunction
from transforms.models.inputs import ModelInput, choose_input, several

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT_SIGNATURE = "serving_default"
"""What is called where no other signature is named."""

MOST_CONSTANT_BYTES = 1_900_000_000
"""A graph is one protocol buffer, which cannot exceed 2 GiB."""


class SignatureFunction(ModelFunction):
    """A signature of a SavedModel, or one of its outputs."""

    layers_out_of_reach = (
        "is a SavedModel, which keeps no layers: give the .keras file that it was made of"
    )

    def __init__(
        self,
        saved: Any,
        title: str,
        output_layer: str | int | None = None,
        name: str | None = None,
        explained: str | None = None,
    ) -> None:
        wanted = name or DEFAULT_SIGNATURE
        if wanted not in saved.signatures:
            there = ", ".join(sorted(saved.signatures))
            remedy = "choose one by model.signature" if there else "export it with one"
            raise ConfigurationError(
                f"{title} has no signature {wanted!r} (it has: {there or 'none'}); {remedy}"
            )
        self._saved = saved  # owns the variables that the signature reads
        self.signature = saved.signatures[wanted]
        specs = self.signature.structured_input_signature[1]
        inputs = [_described(name, spec) for name, spec in sorted(specs.items())]
        own, others = choose_input(inputs, explained, title)
        super().__init__(saved, title, own, others)
        self.output_names = sorted(self.signature.structured_outputs)
        self.output_name = self._choose(self.output_names, output_layer)
        # A loaded loop that reads variables has lost what its gradient needs to know of them: there
        # the variables become constants first.
        self._constant = self.constant("whose graph loops,") if self._loops() else None

    @property
    def model(self) -> Any:
        """What `tf.saved_model.load` returned."""
        return self._saved

    def __call__(self, inputs: tf.Tensor, others: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """The signature's output."""
        outputs = (self._constant or self._call_signature)(inputs, *others)
        return self.single(outputs[self.output_names.index(str(self.output_name))])

    def constant(self, what: str = "") -> Any:
        """A concrete function of input and others, to all outputs by name, without variables.

        Raises:
          ConfigurationError: The variables do not fit into a graph.
        """
        import tensorflow as tf

        specs = self.signature.structured_input_signature[1]
        concrete = tf.function(self._call_signature, autograph=False).get_concrete_function(
            *(specs[each.name] for each in (self.input, *self.others))
        )
        title = f"{self.title}, {what}" if what else self.title
        return constant_function(concrete, self.signature.graph.variables, title)

    def _call_signature(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        names = [each.name for each in (self.input, *self.others)]
        outputs = self.signature(**dict(zip(names, inputs, strict=True)))
        return [outputs[name] for name in self.output_names]

    def _loops(self) -> bool:
        definition = self.signature.graph.as_graph_def()
        bodies = (each.node_def for each in definition.library.function)
        return any(node.op == "While" for nodes in (definition.node, *bodies) for node in nodes)

    def _choose(self, names: list[str], output_layer: str | int | None) -> str:
        if output_layer is None:
            if len(names) == 1:
                return names[0]
            raise ConfigurationError(several("outputs", self.title, names))
        if output_layer not in names:
            raise ConfigurationError(
                f"{self.title} is a SavedModel, whose layers are not kept: output_layer "
                f"{output_layer!r} must be one of its outputs: {', '.join(names)}"
            )
        return str(output_layer)


def _described(name: str, spec: tf.TensorSpec) -> ModelInput:
    known = spec.shape.rank is not None
    shape = tuple(spec.shape[1:].as_list()) if known else None
    return ModelInput(name, shape, spec.dtype.name, spec.shape[0] if known else None)


def constant_function(function: Any, variables: Sequence[tf.Variable], title: str) -> Any:
    """A concrete function whose variables are constants, without calls.

    Args:
      function: Concrete.
      variables: What it reads.
      title: How messages call the model.

    Raises:
      ConfigurationError: The variables do not fit into a graph.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    size = sum(each.dtype.size * each.shape.num_elements() for each in variables)
    if size > MOST_CONSTANT_BYTES:
        raise ConfigurationError(
            f"{title} has {size / 1e9:.1f} GB of variables, and can be explained up to "
            f"{MOST_CONSTANT_BYTES / 1e9:.1f} GB; give it as a .keras file with a floating-point "
            "input"
        )
    return convert_variables_to_constants_v2(function, lower_control_flow=False)
