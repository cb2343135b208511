"""Methods: which maps are made of what an engine computes.

| method     | needs                | maps                                  | paper           |
| ---------- | -------------------- | ------------------------------------- | --------------- |
| `saliency` | one gradient per map | 0 or more; an image's largest channel | arXiv 1312.6034 |

A second method is one file, `NAME.py` in this package, which holds a `METHOD` of `Method`'s shape;
its presence makes `explain.method: NAME` valid. How methods of several gradients, of scores alone,
with signed maps and with several inputs will fit is sketched in `attribution`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

from transforms.errors import ConfigurationError
from transforms.saliency.reducers import Reducer

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT_METHOD = "saliency"


class Method(Protocol):
    """Makes maps of gradients. Stateless."""

    def maps(self, gradients: tf.Tensor, reducer: Reducer) -> tf.Tensor:
        """Maps of M gradients.

        Args:
          gradients: (M, H, W, C), (M, T, W) or (M, W) float32.
          reducer: How an image's channels become one; `none` keeps them.

        Returns:
          (M, H, W, 1) for images, (M, H, W, C) with `none`; else the gradients' shape.
        """


def method_names() -> tuple[str, ...]:
    """All methods there are: the modules of this package."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
      ConfigurationError: There is none.
    """
    if name not in method_names():
        raise ConfigurationError(
            f"explain.method {name!r} is unknown; choose one of {', '.join(method_names())}"
        )
    return cast(Method, importlib.import_module(f"{__name__}.{name}").METHOD)
