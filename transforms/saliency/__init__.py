"""Saliency maps: the explainer and its parts. Importing it does not import TensorFlow."""

from transforms.saliency.explainer import Saliency

__all__ = ["Saliency"]
