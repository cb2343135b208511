"""What a certificate says: figures with intervals, as the manifest holds them."""

from __future__ import annotations

from typing import Any

from pipeline.compare.result import Estimate
from transforms.store.outcome.result import Part


class WeightsStep(Part):
    """Maps after the weights of the last layers were drawn anew.

    Attributes:
      layers: How many layers have new weights, counted from the output.
      similarity: Spearman's correlation of each map with the one before anything was drawn, in
        the mean over the examples; 1 is the same order of places, 0 none in common.
    """

    layers: int
    similarity: Estimate


class Weights(Part):
    """How maps change with the model's weights (Adebayo et al. 2018, arXiv 1810.03292).

    Attributes:
      layers: How many layers have weights that can be drawn.
      steps: From the output to the input, each with the new weights of those before it.
      entropy_rise: By which share the maps' entropy rises once all weights are new (EfficientMPRT,
        Hedström et al. 2024).
    """

    layers: int
    steps: list[WeightsStep]
    entropy_rise: Estimate


class Ordering(Part):
    """What the score does as places are taken away, or put back, in an order.

    Attributes:
      by_map: Area under the score's curve where the places go in the map's order; None where the
        model has no finite score for any example without its places.
      at_random: The same in a random order.
      gain: How much better the map's order is, in the mean over the examples; above 0 is better.
    """

    by_map: float | None
    at_random: float | None
    gain: Estimate


class Certificate(Part):
    """What a method says about a model, on a sample of the examples.

    Attributes:
      samples: How many examples were asked for.
      examples: How many of them were explained.
      maps: How many maps they have.
      identical: How many of these had the same bytes when they were explained again.
      weights: What new weights do; None where there are none to draw.
      other_class: Spearman's correlation of each map with that of the next likely class; None
        where there is no other class.
      deletion: The score as the most salient places are taken away first (Petsiuk et al. 2018,
        arXiv 1806.07421); None where places cannot be taken away.
      insertion: The score as the most salient places are put back first.
      score: What deletion and insertion look at: `probability` or `score`.
      notes: What was not tried, and why.
    """

    samples: int
    examples: int
    maps: int
    identical: int
    weights: Weights | None
    other_class: Estimate | None
    deletion: Ordering | None
    insertion: Ordering | None
    score: str
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return self.model_dump(mode="json")
