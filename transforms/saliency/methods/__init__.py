"""Methods: which maps are made of what an engine computes.

| method                 | calls per map | maps                    | paper            |
| ---------------------- | ------------- | ----------------------- | ---------------- |
| `saliency`             | 1             | magnitudes; max         | arXiv 1312.6034  |
| `gradient_input`       | 1             | signed; sum             | arXiv 1605.01713 |
| `integrated_gradients` | `steps`       | signed; sum             | arXiv 1703.01365 |
| `smoothgrad`           | 1 + `samples` | signed; mean            | arXiv 1706.03825 |
| `squaregrad`           | 1 + `samples` | squares; mean           | arXiv 1806.10758 |
| `vargrad`              | 1 + `samples` | variances; mean         | arXiv 1810.03307 |
| `grad_cam`             | 1             | positive; no channels   | arXiv 1610.02391 |
| `grad_cam_pp`          | 1             | positive; no channels   | arXiv 1710.11063 |
| `occlusion`            | 1 + patches   | signed; no channels     | arXiv 1311.2901  |
| `rise`                 | 1 + `samples` | signed; no channels     | arXiv 1806.07421 |

After the semicolon is what becomes of an image's channels where `explain.reducer` says nothing.

Another method is one file, `NAME.py` in this package; its presence makes `explain.method: NAME`
valid. It holds a `METHOD`, a frozen dataclass that is a `contract.method.Method`; its fields are
its parameters.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, cast

from transforms.errors import ConfigurationError, alternatives
from transforms.saliency.contract.method import Method, parameter_names

DEFAULT_METHOD = "saliency"


def method_names() -> tuple[str, ...]:
    """All methods there are: the modules of this package."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def find_method(document: str | Mapping[str, Any]) -> Method:
    """The method that `explain.method` asks for.

    >>> find_method({"integrated_gradients": {"steps": 20}}).calls
    20

    Args:
      document: A name, or one name with its parameters: `{NAME: {parameter: value}}`.

    Raises:
      ConfigurationError: There is no such method or parameter, or no such value of it.
    """
    name, given = _named(document)
    if name not in method_names():
        raise ConfigurationError(
            f"explain.method is {name!r}, which is unknown{_nearest(name, method_names())}; "
            f"choose {alternatives(method_names())}"
        )
    kind = importlib.import_module(f"{__name__}.{name}").METHOD
    known = parameter_names(kind)
    for parameter in given:
        if parameter not in known:
            may = f"choose {alternatives(known)}" if known else "it has none"
            raise ConfigurationError(
                f"explain.method.{name} has no parameter {parameter!r}"
                f"{_nearest(parameter, known)}; {may}"
            )
    return cast(Method, kind(**given))


def _named(document: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if isinstance(document, str):
        return document, {}
    if isinstance(document, Mapping) and len(document) == 1:
        ((name, given),) = document.items()
        if isinstance(given, Mapping) and all(isinstance(key, str) for key in (name, *given)):
            return name, given
    raise ConfigurationError(
        f"explain.method is {document!r}; give a name, or {{NAME: {{parameter: value}}}}"
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (the nearest is {near[0]!r})" if near else ""
