"""What is said of a configuration that is wrong, word for word."""

from __future__ import annotations

from typing import Any

import pytest
from config_file import WriteConfig, refusal

from pipeline.config.messages import describe_value
from transforms.errors import alternatives
from transforms.saliency.methods import method_names

LINES = [
    ("explain.bacth_size=3", "unknown key explain.bacth_size: did you mean batch_size?"),
    ("sorce.pattern=a", "unknown key sorce: did you mean source?"),
    ("source.features.labels=a", "unknown key source.features.labels: did you mean label?"),
    ("batch_size=3", "unknown key batch_size: did you mean explain.batch_size?"),
    ("output.zzz=3", "unknown key output.zzz: output has path, codec, block_size, thumbnail"),
    (
        "zzz=3",
        "unknown key zzz: there are source, model, explain, output, statistics, failures, limits, "
        "audit, runner",
    ),
    (
        "source.pattern=[]",
        "source.pattern is []: it must be a glob or a list of globs, such as data/train-*.tfrecord",
    ),
    ("source.format=csv", 'source.format is "csv": it must be tfrecord or parquet'),
    ("source.compression=bz2", 'source.compression is "bz2": it must be auto, none, gzip or zlib'),
    (
        "source.features.input=null",
        "source.features.input is null: it must be the name of the feature that holds the input, "
        "or a list of features of one number each, such as [age, bmi]",
    ),
    (
        "source.sample=0",
        "source.sample is 0: it must be how many examples to explain, from 1, or null for all",
    ),
    (
        "source.input.shape=[0, 8, 3]",
        "source.input.shape is [0, 8, 3]: it must be the input's shape without the batch, a list "
        "of integers from 1 such as [224, 224, 3]",
    ),
    (
        "source.input.crop=1.5",
        "source.input.crop is 1.5: it must be the share of each side to keep, above 0 and at most "
        "1, or null",
    ),
    (
        "source.input.scale={mean: [1, 2, 3]}",
        'source.input.scale is {"mean": [1, 2, 3]}: it must be none, unit (0..1), symmetric '
        "(-1..1), or {mean: [...], std: [...]}",
    ),
    (
        "model.output_layer=true",
        "model.output_layer is true: it must be the name or the index of a layer, or null for the "
        "last",
    ),
    ("model.allow_unsafe=1", "model.allow_unsafe is 1: it must be true or false"),
    (
        "explain.method=lime",
        f"explain.method is 'lime', which is unknown; choose {alternatives(method_names())}",
    ),
    (
        "explain.target={class: -1}",
        'explain.target is {"class": -1}: it must be label, predicted, {class: N} with N from 0, '
        "or {top: N} with N from 1",
    ),
    (
        "explain.target={number: 1}",
        'explain.target is {"number": 1}: it must be label, predicted, {class: N} with N from 0, '
        "or {top: N} with N from 1",
    ),
    (
        "explain.target.top=0",
        'explain.target is {"top": 0}: it must be label, predicted, {class: N} with N from 0, or '
        "{top: N} with N from 1",
    ),
    (
        "explain.operator=mine",
        'explain.operator is "mine": it must be classification, regression, segmentation, '
        'detection or "package.module:function"',
    ),
    (
        "explain.reducer=middle",
        'explain.reducer is "middle": it must be max, mean, min, sum, none, or null for the '
        "method's default",
    ),
    (
        "explain.batch_size='8'",
        'explain.batch_size is "8": it must be auto or an integer of at least 1',
    ),
    (
        "explain.batch_size=0",
        "explain.batch_size is 0: it must be auto or an integer of at least 1",
    ),
    (
        "explain.batch_size=true",
        "explain.batch_size is true: it must be auto or an integer of at least 1",
    ),
    (
        "explain.batch_size=8.0",
        "explain.batch_size is 8.0: it must be auto or an integer of at least 1",
    ),
    (
        "explain.threads=0",
        "explain.threads is 0: it must be the number of threads of one operation, from 1, or null "
        "for TensorFlow's choice",
    ),
    ("output.path=3", "output.path is 3: it must be the path of the folder to make the atlas in"),
    ("output.codec=jpeg", 'output.codec is "jpeg": it must be uint8, float16 or float32'),
    ("output.block_size=0", "output.block_size is 0: it must be an integer of at least 1"),
    (
        "statistics.sketch=[28]",
        "statistics.sketch is [28]: it must be two integers from 1: the rows and columns of the "
        "sketch",
    ),
    (
        "failures.max_fraction=1.01",
        "failures.max_fraction is 1.01: it must be a number from 0 to 1",
    ),
    (
        "failures.max_fraction=.nan",
        "failures.max_fraction is NaN: it must be a number from 0 to 1",
    ),
    (
        "runner={--runner: x}",
        'runner is {"--runner": "x"}: it must be a mapping of Beam\'s pipeline options, without '
        "dashes, to values or lists",
    ),
    (
        "explain=4",
        "explain is 4: it must be a mapping with the keys method, target, operator, reducer, "
        "sign, layer, batch_size, threads, engine, precision, certificate",
    ),
]


@pytest.mark.parametrize(("override", "line"), LINES)
def test_what_is_wrong_is_said_in_one_line(write: WriteConfig, override: str, line: str) -> None:
    assert refusal(write(), override) == line


def test_there_is_one_line_a_problem(write: WriteConfig) -> None:
    message = refusal(write(), "explain.batch_size=0", "model.urj=x", "output.codec=jpeg")
    assert message.splitlines() == [
        "unknown key model.urj: did you mean uri?",
        "explain.batch_size is 0: it must be auto or an integer of at least 1",
        'output.codec is "jpeg": it must be uint8, float16 or float32',
    ]


def test_missing_keys_are_named(write: WriteConfig) -> None:
    document: dict[str, Any] = {"source": {"features": {}, "input": {}}, "model": {}}
    assert refusal(write(document)).splitlines() == [
        "source.pattern is missing: it must be a glob or a list of globs, such as "
        "data/train-*.tfrecord",
        "source.features.input is missing: it must be the name of the feature that holds the "
        "input, or a list of features of one number each, such as [age, bmi]",
        "source.input.shape is missing: it must be the input's shape without the batch, a list of "
        "integers from 1 such as [224, 224, 3]",
        "model.uri is missing: it must be the path of a .keras or .h5 file or of a SavedModel "
        "folder",
        "output is missing: it must be a mapping with the keys path, codec, block_size, thumbnail",
    ]


def test_a_long_value_is_cut() -> None:
    assert describe_value("x" * 100) == f'"{"x" * 76}...'
    assert describe_value({"a": [1, None]}) == '{"a": [1, null]}'
