"""Compares maps with Xplique 2.0.2's, method by method: rank correlations of the same examples.

    scripts/bench engines --peers ~/peers --install     # makes an environment that has Xplique
    PYTHONPATH=.:scripts ~/peers/xplique/bin/python -m benchmark.xplique_agreement

The model is small, has random weights and ends in logits, as Xplique's `output_layer` has no
effect. Its last convolution has the input's height and width, so that Grad-CAM's maps are compared,
not the ways of making them larger. Noise and masks of Xplique have no seed, so noise is 0 here.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import transforms
from transforms.saliency.engines.agreement import spearman

SIDE, CLASSES, EXAMPLES = 32, 5, 8
LEAST = 0.999

METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Saliency": ({}, {}),
    "GradientInput": ({}, {}),
    "IntegratedGradients": ({"steps": 20}, {}),
    "SmoothGrad": ({"nb_samples": 3, "noise": 0.0}, {}),
    "SquareGrad": ({"nb_samples": 3, "noise": 0.0}, {}),
    "GradCAM": ({"conv_layer": "last"}, {}),
    "GradCAMPP": ({"conv_layer": "last"}, {}),
    "Occlusion": ({"patch_size": 4, "patch_stride": 4}, {}),
    "Occlusion, overlapping": ({"patch_size": 4, "patch_stride": 2}, {}),
    "Rise": ({"nb_samples": 2000}, {"grid_size": 4}),
}
"""By name: arguments of both, and more of both."""


def model() -> Any:
    """A classifier of images."""
    import keras

    keras.utils.set_random_seed(0)
    k = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            k.Conv2D(8, 3, padding="same", activation="relu"),
            k.Conv2D(8, 3, padding="same", activation="relu", name="last"),
            k.MaxPooling2D(4),
            k.Flatten(),
            k.Dense(CLASSES),
        ]
    )


def main() -> int:
    """Prints a table; ends with 1 where maps of a method that should agree do not."""
    import xplique.attributions

    explained = model()
    generator = np.random.default_rng(0)
    inputs = generator.uniform(size=(EXAMPLES, SIDE, SIDE, 3)).astype(np.float32)
    targets = np.eye(CLASSES, dtype=np.float32)[generator.integers(0, CLASSES, EXAMPLES)]
    for name, (given, more) in METHODS.items():
        kind = name.split(",")[0]
        both = given | more
        theirs = getattr(xplique.attributions, kind)(explained, **both)
        reducer = getattr(theirs, "reduce", None)
        own = {"reducer": "mean"} if reducer is not None and "CAM" not in kind else {}
        if kind == "Saliency":
            own = {}
        ours = getattr(transforms, kind)(explained, **both, **own)
        pairs = zip(
            np.asarray(theirs.explain(inputs, targets)).reshape(EXAMPLES, -1),
            np.asarray(ours.explain(inputs, targets)).reshape(EXAMPLES, -1),
            strict=True,
        )
        found = [spearman(*pair) for pair in pairs]
        print(f"{name:24} least {min(found):.6f}  median {np.median(found):.6f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
