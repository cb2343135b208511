"""Draws the README's picture of methods: one photograph, explained by five of them.

    .venv/bin/python -m demonstration.five_methods MODEL .github/methods.png

MODEL is a .keras file of a classifier of images of 224 x 224 in 0..255 that ends in logits; what is
explained is the class that it predicts. The photograph is a file of the scikit-image package.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.commands.drawing.maps import draw

if TYPE_CHECKING:
    from transforms.saliency.explainers.explainer import Explainer

SIDE = 224
GAP, CAPTION, LETTERS = 8, 30, 18  # pixels
COLOURS = 256  # enough for a photograph and two colour maps, in a third of the bytes
CENTRE = (0.42, 0.5)  # of the square that is cut from the photograph: the animal's face


def photograph() -> Image.Image:
    """A cat, cut to a square and shrunk to what models take."""
    from demonstration.data import PHOTOGRAPHS, read_photograph

    image = Image.fromarray(read_photograph(*PHOTOGRAPHS["cat"]))
    side = min(image.size)
    left = round((image.width - side) * CENTRE[0])
    top = round((image.height - side) * CENTRE[1])
    cut = image.crop((left, top, left + side, top + side))
    return cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def explainers(model: Any) -> dict[str, Explainer]:
    """Five methods, by the names that a configuration gives them."""
    from transforms import GradCAM, IntegratedGradients, Occlusion, Saliency, SmoothGrad

    return {
        "saliency": Saliency(model),
        "integrated_gradients": IntegratedGradients(model, steps=50, baseline_value=127.5),
        "smoothgrad": SmoothGrad(model, nb_samples=50, noise=38.25),
        "grad_cam": GradCAM(model),
        "occlusion": Occlusion(model, patch_size=28, patch_stride=14, occlusion_value=127.5),
    }


def make(model_path: Path) -> Image.Image:
    """The picture: the photograph, then each map over it."""
    import keras

    model = keras.models.load_model(model_path)
    shown = photograph()
    pixels = np.asarray(shown, np.float32)
    outputs = np.asarray(model(pixels[np.newaxis]))
    target = np.eye(outputs.shape[-1], dtype=np.float32)[[outputs[0].argmax()]]
    panels = {"the input": np.asarray(shown)}
    for name, explainer in explainers(model).items():
        values = np.asarray(explainer.explain(pixels[np.newaxis], target))[0, ..., 0]
        panels[name] = draw(values, pixels)[:, -SIDE:]
    width = len(panels) * (SIDE + GAP) - GAP
    picture = Image.new("RGB", (width, SIDE + CAPTION), (255, 255, 255))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(LETTERS)
    for number, (name, panel) in enumerate(panels.items()):
        left = number * (SIDE + GAP)
        picture.paste(Image.fromarray(panel), (left, 0))
        pen.text((left, SIDE + 4), name, fill=(0, 0, 0), font=font)
    return picture


def main() -> int:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description="Draws one photograph as five methods explain it.")
    parser.add_argument("model", type=Path, help="a .keras file")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    make(arguments.model).quantize(COLOURS).save(arguments.picture, format="PNG", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
