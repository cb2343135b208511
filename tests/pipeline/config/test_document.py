"""How a configuration's file is read, and what overrides do to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_file import MINIMAL, WriteConfig, refusal

from pipeline.config.document import read_document
from pipeline.config.keys import load_config


def test_an_override_within_a_setting_that_is_no_mapping_replaces_it(write: WriteConfig) -> None:
    path = write({**MINIMAL, "explain": {"target": "predicted"}})
    assert load_config(path, ["explain.target.class=3"]).as_dict()["explain"]["target"] == {
        "class": 3
    }


def test_the_last_of_two_overrides_counts(write: WriteConfig) -> None:
    config = load_config(write(), ["explain.batch_size=8", "explain.batch_size=9"])
    assert config.explain.batch_size == 9


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "explain",
            "--set explain: write it as KEY=VALUE, such as explain.batch_size=8",
        ),
        (
            ".a=4",
            "--set .a=4: write it as KEY=VALUE, such as explain.batch_size=8",
        ),
        (
            "source.pattern=*.tfrecord",
            "--set source.pattern=*.tfrecord: the value is not YAML (expected alphabetic or "
            "numeric character, but found '.'); if it is text, quote it: "
            "--set 'source.pattern=\"*.tfrecord\"'",
        ),
    ],
)
def test_an_override_that_is_none_is_refused(write: WriteConfig, override: str, line: str) -> None:
    assert refusal(write(), override) == line


def test_a_file_that_is_no_configuration_is_refused(write: WriteConfig, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.yaml")
    assert refusal(absent) == f"the configuration {absent} does not exist"
    folder = str(tmp_path)
    assert refusal(folder).startswith(f"the configuration {folder} cannot be read: ")
    path = write("")
    assert refusal(path) == (
        f"{path} must hold a mapping of sections such as source: and model:, not null"
    )
    path = write("model: {uri: a}\nexplain:\n  batch_size: 8\n  batch_size: 9\n")
    assert refusal(path) == f"{path}, line 4: the key batch_size is given twice"
    path = write("a: [1\nb: 2\n")
    assert refusal(path) == f"{path}, line 2: expected ',' or ']', but got ':'"
    path = write("model: !!python/object/apply:os.getcwd []\n")
    assert refusal(path).startswith(f"{path}, line 1: could not determine a constructor")


def test_a_merged_mapping_may_be_overridden(write: WriteConfig) -> None:
    path = write("base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  b: 3\n")
    assert read_document(path)["other"] == {"a": 1, "b": 3}
