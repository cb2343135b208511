"""What is done to images so that a property of them becomes what is usual in another class.

A change is the same for all images of a class, as that of a camera or a lens is: what tells images
of a class apart stays. Its strength s is found by bisection, so that the median of the property, as
atlases have it (`transforms.formats.images.properties`), becomes the other class's. With x in
0..255, m an image's mean colour, Y its luma and G a Gaussian blur:

    luminance   gain     2^s x
                offset   x + 255 s
    contrast    spread   m + 2^s (x - m)
    saturation  colours  a gain of each channel, then Y + 2^s (x - Y)
    sharpness   focus    G(x) of -s pixels where s < 0, else the unsharp mask x + s (x - G(x)) of 1

all kept in 0..255. Other light is a gain of each channel (von Kries 1902), which no mixture with
grey undoes: so channels are first brought to the levels that are usual in the other class.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from transforms.formats.images.properties import input_properties

Images = npt.NDArray[np.float32]
"""(N, H, W, C) as they are decoded, 0..255; C is 1, 3, or 4 with alpha, which stays as it is."""

Change = Callable[[Images, float], Images]
"""Images as a strength makes them: the larger, the more of a property; 0 leaves them alone."""

LUMA = np.array([77, 150, 29], np.float32) / 256
"""Weights of red, green and blue, as the properties have them."""

_WHITE = 255.0
_STEPS = 12  # Of a bisection, which narrows a range to a 4,096th.
_SAMPLE = 24  # Images that strengths are found on.
_MOST_TIMES = 4.0  # As strong as a change, that its control may be to change pixels as much.
_REACHED = 0.1  # Of the way, that a median may be short of where it should be.
_CLOSE = 0.001  # So near it is there: two tints may be as saturated, and have no way to go.


def gain(images: Images, strength: float) -> Images:
    """Brighter by a factor of 2^s, as by a longer exposure."""
    return _of_colours(images, lambda x: x * np.float32(2.0**strength))


def offset(images: Images, strength: float) -> Images:
    """Brighter by 255 s everywhere, as through haze."""
    return _of_colours(images, lambda x: x + np.float32(_WHITE * strength))


def spread(images: Images, strength: float) -> Images:
    """2^s times as far from each image's mean colour."""

    def change(x: Images) -> Images:
        mean = x.mean(axis=(1, 2), keepdims=True)
        farther: Images = mean + (x - mean) * np.float32(2.0**strength)
        return farther

    return _of_colours(images, change)


def saturate(images: Images, strength: float) -> Images:
    """Each pixel 2^s times as far from the grey of its luma."""

    def change(x: Images) -> Images:
        luma = _luma(x)
        farther: Images = luma + (x - luma) * np.float32(2.0**strength)
        return farther

    return _of_colours(images, change)


def focus(images: Images, strength: float) -> Images:
    """Blurred by -s pixels, or sharpened by s times what a blur of one pixel takes away."""
    if strength == 0:
        return images

    def change(x: Images) -> Images:
        sigma = 1.0 if strength > 0 else -strength
        soft: Images = gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")
        return soft if strength < 0 else x + (x - soft) * np.float32(strength)

    return _of_colours(images, change)


_CHANGES: dict[str, dict[str, tuple[Change, float, float]]] = {
    "luminance": {"gain": (gain, -8, 8), "offset": (offset, -1, 1)},
    "contrast": {"spread": (spread, -8, 8)},
    "saturation": {"colours": (saturate, -8, 8)},
    "sharpness": {"focus": (focus, -8, 64)},
}
"""Of each property, by the way's name: the change, and its least and largest strength."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A change of a strength, a share of which may be taken.

    Attributes:
      change: What it changes.
      strength: Of the whole of it.
      channels: (3,) logarithms of the gains of red, green and blue before it; None where it has
        none.
    """

    change: Change
    strength: float
    channels: npt.NDArray[np.float32] | None = None

    def __call__(self, images: Images, share: float = 1.0) -> Images:
        """Images changed by so much of it; by a negative share, in the opposite direction."""
        if self.channels is not None:
            gains = np.exp(np.float32(share) * self.channels)
            images = _of_colours(images, lambda x: x * gains)
        return self.change(images, share * self.strength)

    def opposite(self) -> Step:
        """The same in the opposite direction."""
        channels = None if self.channels is None else -self.channels
        return Step(self.change, -self.strength, channels)


@dataclasses.dataclass(frozen=True)
class Way:
    """A way of bringing a property to what is usual elsewhere.

    Attributes:
      name: Its name.
      step: What brings it there.
      reaches: Whether the median comes to where it should.
      another: A change of another property, which it is compared with.
    """

    name: str
    step: Step
    reaches: bool
    another: Change

    def controls(self, images: Images) -> list[Callable[[Images], Images]]:
        """Changes of as many levels (root mean square) that do not bring it there.

        Those are the same in the opposite direction, and another property made larger and smaller;
        as large as they can be where none is as large.

        Args:
          images: (N, H, W, C), on which sizes are measured.
        """
        sample = _some(images)
        size = _rms(self.step(sample), sample)
        steps = self.step.opposite(), Step(self.another, 1.0), Step(self.another, -1.0)
        return [functools.partial(each, share=_share_of_size(each, sample, size)) for each in steps]


def ways_to(name: str, images: Images, usual: Images) -> list[Way]:
    """The ways of giving images the median property of others.

    Args:
      name: The property: luminance, contrast, saturation or sharpness.
      images: (N, H, W, C), at least one.
      usual: (M, H, W, C), at least one, whose median it is.
    """
    sample, others = _some(images), _some(usual)
    before, target = median_of(name, sample), median_of(name, others)
    channels = _channel_gains(images, usual) if name == "saturation" else None
    another = spread if name == "luminance" else gain
    found = []
    for way, (change, least, most) in _CHANGES[name].items():
        excess = _Excess(name, change, Step(change, 0.0, channels)(sample), target)
        strength = _solve(excess, least, most)
        step = Step(change, strength, channels)
        short = abs(median_of(name, step(sample)) - target)
        reaches = short <= max(_CLOSE, _REACHED * abs(before - target))
        found.append(Way(way, step, reaches, another))
    return found


@dataclasses.dataclass(frozen=True)
class _Excess:
    """By how much the median of a property is above where it should be, by a change's strength."""

    name: str
    change: Change
    images: Images
    target: float

    def __call__(self, strength: float) -> float:
        return median_of(self.name, self.change(self.images, strength)) - self.target


def median_of(name: str, images: Images) -> float:
    """The median of a property over images (N, H, W, C) in which it is defined; 0 where in none."""
    values = input_properties(images)[name].astype(np.float64)
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else 0.0


def _share_of_size(step: Step, images: Images, size: float) -> float:
    """What share of a step changes pixels by so much, as far as any does."""
    return _solve(lambda share: _rms(step(images, share), images) - size, 0, _MOST_TIMES)


def _solve(difference: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, or the end that is nearer; 0 where it is 0 there."""
    if difference(0.0) == 0:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if difference(middle) < 0 else (low, middle)
    return (low + high) / 2


def _channel_gains(images: Images, usual: Images) -> npt.NDArray[np.float32]:
    """Logarithms of the gains that give each channel its usual level: the median over images."""
    own, other = (
        np.median(each[..., :3].mean(axis=(1, 2), dtype=np.float64), axis=0) + 1  # Black has none.
        for each in (images, usual)
    )
    gains: npt.NDArray[np.float32] = np.log(other / own).astype(np.float32)
    return gains


def _of_colours(images: Images, change: Callable[[Images], Images]) -> Images:
    """Changes colours and leaves alpha alone; what is beyond 0..255 is cut off."""
    colours = images[..., :3]
    changed: Images = np.clip(change(colours), 0, _WHITE).astype(np.float32, copy=False)
    if images.shape[-1] == colours.shape[-1]:
        return changed
    return np.concatenate([changed, images[..., 3:]], axis=-1)


def _luma(colours: Images) -> Images:
    """(N, H, W, 1)."""
    if colours.shape[-1] == 1:
        return colours
    luma: Images = (colours @ LUMA)[..., np.newaxis].astype(np.float32, copy=False)
    return luma


def _some(images: Images) -> Images:
    """Evenly spaced ones, enough for a median."""
    return images[:: -(-len(images) // _SAMPLE)]


def _rms(changed: Images, images: Images) -> float:
    return float(np.sqrt(np.mean(np.square(changed - images), dtype=np.float64)))
