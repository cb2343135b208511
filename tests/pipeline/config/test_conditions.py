"""Keys that have no effect on some inputs are refused there, and recorded nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from config_file import WriteConfig, refusal

from pipeline.config.keys import Config, load_config
from transforms.formats.source import InputSpec

PARQUET = ["source.format=parquet"]
TENSOR = ["source.input.kind=tensor"]
TABULAR = [*TENSOR, "source.input.shape=[16]"]
SERIES = [*TENSOR, "source.input.shape=[4, 5]"]
OF_TENSORS = "but source.input.kind is 'tensor'; only images are"

REFUSALS = [
    (
        TENSOR,
        "source.input.antialias=true",
        f"source.input.antialias is True, {OF_TENSORS} resized, so leave it out",
    ),
    (
        TENSOR,
        "source.input.fit=pad",
        f"source.input.fit is 'pad', {OF_TENSORS} resized, so leave it out",
    ),
    (
        TENSOR,
        "source.input.orientation=exif",
        f"source.input.orientation is 'exif', {OF_TENSORS} turned, so leave it out",
    ),
    (
        TENSOR,
        "source.input.decoder=pillow",
        f"source.input.decoder is 'pillow', {OF_TENSORS} decoded, so leave it out",
    ),
    (
        ["source.input.resize=area"],
        "source.input.antialias=true",
        "source.input.antialias is True, but source.input.resize is 'area', which it does not "
        "change, so leave it out",
    ),
    (
        ["source.input.decoder=pillow"],
        "source.input.antialias=false",
        "source.input.antialias is False, but source.input.decoder is 'pillow', which always "
        "smooths what it shrinks, so leave it out",
    ),
    (
        ["source.input.resize=none"],
        "source.input.fit=crop",
        "source.input.fit is 'crop', but source.input.resize is 'none', so leave it out",
    ),
    (
        PARQUET,
        "source.compression=gzip",
        "source.compression is 'gzip', which is for TFRecord files; Parquet files name their own "
        "compression, so leave it out",
    ),
    (
        [],
        "source.input.dtype=float32",
        "source.input.dtype is 'float32', but source.input.kind is 'image'; encoded images have a "
        "type of their own, so leave it out",
    ),
    (
        TENSOR,
        "source.input.resize=bilinear",
        f"source.input.resize is 'bilinear', {OF_TENSORS} resized, so leave it out",
    ),
    (
        TABULAR,
        "source.input.resize=area",
        f"source.input.resize is 'area', {OF_TENSORS} resized, so leave it out",
    ),
    (
        TABULAR,
        "source.input.crop=0.5",
        f"source.input.crop is 0.5, {OF_TENSORS} cropped, so leave it out",
    ),
    (
        TENSOR,
        "limits.max_pixels=1000",
        "limits.max_pixels is 1000, but source.input.kind is 'tensor'; only images claim a size, "
        "so leave it out",
    ),
    (
        TENSOR,
        "output.thumbnail=48",
        "output.thumbnail is 48, but source.input.kind is 'tensor'; only images have thumbnails, "
        "so leave it out",
    ),
    (
        TABULAR,
        "source.input.channels=first",
        "source.input.channels is 'first', but source.input.shape is [16]; only images have "
        "channels, so leave it out",
    ),
    (
        TABULAR,
        "source.features.boxes=box",
        "source.features.boxes is 'box', but source.input.shape is [16]; boxes lie in images, "
        "so leave it out",
    ),
    (
        TABULAR,
        "explain.reducer=sum",
        "explain.reducer is 'sum', but source.input.shape is [16]; only images have channels to "
        "reduce, so leave it out",
    ),
    (
        SERIES,
        "explain.reducer=none",
        "explain.reducer is 'none', but source.input.shape is [4, 5]; only images have channels to "
        "reduce, so leave it out",
    ),
]


@pytest.mark.parametrize(("given", "override", "line"), REFUSALS)
def test_a_key_without_effect_is_refused(
    write: WriteConfig, given: list[str], override: str, line: str
) -> None:
    assert refusal(write(), *given, override) == line


@pytest.mark.parametrize(("given", "override"), [refused[:2] for refused in REFUSALS])
def test_it_is_neither_recorded_nor_part_of_the_fingerprint(
    write: WriteConfig, given: list[str], override: str
) -> None:
    config = load_config(write(), given)
    *path, key = override.partition("=")[0].split(".")
    for recorded in (config.as_dict(), config.fingerprint_settings()):
        section: Any = recorded
        for name in path:
            section = section[name]
        assert key not in section
    assert Config.from_dict(config.as_dict()) == config


def test_pillow_knows_fewer_ways_to_resize(write: WriteConfig) -> None:
    given = ["source.input.decoder=pillow", "source.input.resize=gaussian"]
    assert refusal(write(), *given) == (
        "source.input.resize is 'gaussian', which Pillow does not know; give one of bilinear, "
        "bicubic, area, nearest, lanczos3, none, or leave source.input.decoder out"
    )


def test_null_is_no_value_to_refuse(write: WriteConfig) -> None:
    given = [*TABULAR, "source.input.crop=null", "source.features.boxes=null"]
    assert load_config(write(), given) == load_config(write(), TABULAR)


def test_tensors_with_channels_have_a_reducer_and_boxes(write: WriteConfig) -> None:
    config = load_config(write(), [*TENSOR, "explain.reducer=sum", "source.features.boxes=box"])
    assert config.fingerprint_settings()["explain"]["reducer"] == "sum"
    assert config.fingerprint_settings()["source"]["features"]["boxes"] == "box"
    assert "max_pixels" not in config.as_dict()["limits"]


def test_a_tensor_source_survives_json(write: WriteConfig) -> None:
    config = load_config(write(), [*TABULAR, "source.input.dtype=int16"])
    assert Config.from_dict(config.as_dict()) == config
    assert config.input_spec() == InputSpec(kind="tensor", shape=(16,), dtype="int16")


def test_a_default_that_asks_for_nothing_else_is_no_value_to_refuse(write: WriteConfig) -> None:
    given = [*PARQUET, "source.compression=auto"]
    assert load_config(write(), given).as_dict() == load_config(write(), PARQUET).as_dict()
    given = [*TABULAR, "explain.reducer=max", "limits.max_pixels=67108864"]
    assert load_config(write(), given).as_dict() == load_config(write(), TABULAR).as_dict()
