"""The file of class names, as editors of all systems leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_dataset import MakeConfig

from pipeline.run.inspect import class_names_of
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nbird\n",
        "\ufeffcat\r\ndog\r\nbird",
        " cat \ndog\t\nbird\n\n \r\n",
    ],
)
def test_marks_line_ends_and_blank_last_lines(
    text: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(text.encode())
    config = make_config(source={"classes": str(path)})
    assert class_names_of(config, LocalStorage()) == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "is empty"), ("\n\n", "is empty"), ("cat\n\ndog\n", "has no name in line 2")],
)
def test_a_file_without_names(
    text: str, what: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    config = make_config(source={"classes": str(path)})
    with pytest.raises(ConfigurationError) as caught:
        class_names_of(config, LocalStorage())
    expected = f"source.classes: {path} {what}; give a file with a class name a line"
    assert str(caught.value) == expected
