"""The smallest configuration, as a file, and what is said of it where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.keys import load_config
from transforms.errors import ConfigurationError

MINIMAL: dict[str, Any] = {
    "source": {
        "pattern": "data/*.tfrecord",
        "features": {"input": "image", "label": "label"},
        "input": {"shape": [224, 224, 3]},
    },
    "model": {"uri": "model.keras"},
    "output": {"path": "atlases/train"},
}
WriteConfig = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> WriteConfig:
    """Writes a document, or a text that should be one; returns its path."""

    def write_document(document: Any = MINIMAL) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return str(path)

    return write_document


def refusal(path: str, *overrides: str) -> str:
    """What loading says that is refused."""
    with pytest.raises(ConfigurationError) as raised:
        load_config(path, overrides)
    return str(raised.value)
