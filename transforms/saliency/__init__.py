"""Saliency maps: explainers of arrays and their parts. Importing it does not import TensorFlow."""

from transforms.saliency.explainers.by_gradients import (
    GradientInput,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    SquareGrad,
    VarGrad,
)
from transforms.saliency.explainers.by_layers import GradCAM, GradCAMPP
from transforms.saliency.explainers.by_scores import Occlusion, Rise

__all__ = [
    "GradCAM",
    "GradCAMPP",
    "GradientInput",
    "IntegratedGradients",
    "Occlusion",
    "Rise",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
]
