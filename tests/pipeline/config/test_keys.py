from __future__ import annotations

import json
import pickle
from typing import Any, get_args

import pydantic
import pytest
import yaml
from config_file import WriteConfig, refusal

from pipeline.config.keys import Config, load_config
from transforms.codec import CodecName
from transforms.formats.features import Features
from transforms.formats.source import (
    ChannelScale,
    Compression,
    Decoder,
    Fit,
    Format,
    InputKind,
    InputSpec,
    NamedScale,
    Orientation,
    Resize,
    SourceSpec,
)
from transforms.saliency.contract.method import Sign
from transforms.saliency.engines.engine import Precision
from transforms.saliency.reducers import Reducer
from transforms.saliency.scores.targets import NamedTarget

AUDIT = {
    "min_n": 50,
    "confidence": 0.95,
    "undecided": "warn",
    "min_effect": 0.1,
    "reference": [],
    "gates": [],
    "waivers": [],
}


def test_defaults_are_those_of_the_documentation(write: WriteConfig) -> None:
    assert load_config(write()).as_dict() == {
        "source": {
            "pattern": "data/*.tfrecord",
            "format": "tfrecord",
            "compression": "auto",
            "features": {"id": None, "input": "image", "label": "label"}
            | {"boxes": None, "slices": [], "mask": None},
            "classes": None,
            "sample": None,
            "input": {
                "kind": "image",
                "shape": [224, 224, 3],
                "channels": None,
                "resize": "bilinear",
                "antialias": False,
                "fit": "stretch",
                "crop": None,
                "orientation": "stored",
                "decoder": "tensorflow",
                "scale": "none",
            },
        },
        "model": {
            "uri": "model.keras",
            "output_layer": None,
            "output": "as_is",
            "inputs": None,
            "signature": None,
            "imports": [],
            "allow_unsafe": False,
        },
        "explain": {
            "method": "saliency",
            "target": "label",
            "operator": "classification",
            "reducer": None,
            "layer": None,
            "sign": None,
            "batch_size": "auto",
            "threads": None,
            "engine": "auto",
            "precision": "float32",
            "certificate": None,
        },
        "output": {"path": "atlases/train", "codec": "uint8", "block_size": 512, "thumbnail": 96},
        "statistics": {"sketch": [28, 28], "regions": {}},
        "failures": {"max_fraction": 0.01, "max_broken_files": 0},
        "limits": {
            "max_record_bytes": 134217728,
            "max_block_bytes": 1073741824,
            "max_pixels": 67108864,
        },
        "audit": AUDIT,
        "runner": {},
    }


OVERRIDES = [
    ("source.pattern=[a-*.tfrecord, b-*.tfrecord]", "source.pattern"),
    ("source.format=parquet", "source.format"),
    ("source.compression=gzip", "source.compression"),
    ("source.features.id=key", "source.features.id"),
    ("source.features.boxes=box", "source.features.boxes"),
    ("source.features.mask=mask", "source.features.mask"),
    ("statistics.regions={top: [[0, 0, 0.5, 1]]}", "statistics.regions"),
    ("limits.max_record_bytes=1000", "limits.max_record_bytes"),
    ("limits.max_pixels=1000", "limits.max_pixels"),
    ("source.classes=classes.txt", "source.classes"),
    ("source.input.channels=last", "source.input.channels"),
    ("source.input.resize=area", "source.input.resize"),
    ("source.input.crop=0.875", "source.input.crop"),
    ("source.input.antialias=true", "source.input.antialias"),
    ("source.input.fit=pad", "source.input.fit"),
    ("source.input.orientation=exif", "source.input.orientation"),
    ("source.input.decoder=pillow", "source.input.decoder"),
    ("source.input.scale={mean: [1, 2, 3], std: [4, 5, 6.5]}", "source.input.scale"),
    ("model.output_layer=logits", "model.output_layer"),
    ("model.output_layer=-2", "model.output_layer"),
    ("model.inputs={explained: a, constants: {b: 1.5}, features: {c: d}}", "model.inputs"),
    ("source.sample=100", "source.sample"),
    ("model.signature=scores", "model.signature"),
    ("model.imports=[package.module]", "model.imports"),
    ("model.allow_unsafe=true", "model.allow_unsafe"),
    ("explain.target=predicted", "explain.target"),
    ("explain.target.class=0", "explain.target"),
    ("explain.target.top=2", "explain.target"),
    ("explain.operator=package.module:function", "explain.operator"),
    ("explain.reducer=none", "explain.reducer"),
    ("explain.sign=signed", "explain.sign"),
    ("explain.method=vargrad", "explain.method"),
    ("explain.method={integrated_gradients: {steps: 20}}", "explain.method"),
    ("explain.batch_size=8", "explain.batch_size"),
    ("explain.threads=1", "explain.threads"),
    ("output.codec=float16", "output.codec"),
    ("output.block_size=1", "output.block_size"),
    ("statistics.sketch=[4, 7]", "statistics.sketch"),
    ("failures.max_fraction=0", "failures.max_fraction"),
    ("failures.max_fraction=1e-3", "failures.max_fraction"),
    ("runner.direct_num_workers=2", "runner.direct_num_workers"),
    ("runner.experiments=[a, b]", "runner.experiments"),
    ("output.path=2024-01-01", "output.path"),  # text, not a date
]


@pytest.mark.parametrize(("override", "dotted"), OVERRIDES)
def test_every_setting_can_be_overridden_and_survives_json(
    write: WriteConfig, override: str, dotted: str
) -> None:
    config = load_config(write(), [override])
    settings = config.as_dict()
    assert Config.from_dict(json.loads(json.dumps(settings))) == config
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - its own bytes
    value: Any = settings
    for key in dotted.split("."):
        value = value[key]
    text = override.partition("=")[2]
    expected = {
        "explain.target.class=0": {"class": 0},
        "explain.target.top=2": {"top": 2},
        "failures.max_fraction=1e-3": 0.001,
        "output.path=2024-01-01": "2024-01-01",
    }.get(override, yaml.safe_load(text))
    assert value == expected


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("source.format", Format),
        ("source.compression", Compression),
        ("source.input.kind", InputKind),
        ("source.input.resize", Resize),
        ("source.input.fit", Fit),
        ("source.input.orientation", Orientation),
        ("source.input.decoder", Decoder),
        ("source.input.scale", NamedScale),
        ("explain.target", NamedTarget),
        ("explain.reducer", Reducer),
        ("explain.sign", Sign),
        ("explain.precision", Precision),
        ("output.codec", CodecName),
    ],
)
def test_a_key_takes_every_value_that_its_library_knows(
    write: WriteConfig, key: str, choices: object
) -> None:
    message = refusal(write(), f"{key}=unheard-of")
    for value in get_args(choices):
        load_config(write(), [f"{key}={value}"])
        assert value in message.partition("it must be")[2]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "source.features.label=null",
            "explain.target is 'label', but source.features.label is null; give the name of the "
            "feature that holds the label, or set explain.target to predicted",
        ),
        (
            "source.input.scale={mean: [1], std: [1]}",
            "source.input.scale has 1 channels, but source.input.shape [224, 224, 3] has 3",
        ),
        (
            "source.input.shape=[3, 224, 224]",
            "source.input.shape is [3, 224, 224], which looks like channels first; set "
            "source.input.channels: first, or last if the channels do come last",
        ),
        (
            "explain.engine=onnx",
            "explain.engine is 'onnx'; it must be auto, openvino or tensorflow",
        ),
        (
            "explain.method={vargrad: {sample: 3}}",
            "explain.method.vargrad has no parameter 'sample' (the nearest is 'samples'); choose "
            "samples, noise or seed",
        ),
        (
            "explain.method={integrated_gradients: {baseline: [1, 2]}}",
            "explain.method.integrated_gradients.baseline is [1.0, 2.0]; inputs of shape [224, "
            "224, 3] have 3 channels: give 3 numbers, or one for all",
        ),
    ],
)
def test_keys_are_checked_together(write: WriteConfig, override: str, line: str) -> None:
    assert refusal(write(), override) == line


def test_a_config_cannot_be_changed(write: WriteConfig) -> None:
    config = load_config(write())
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.output.path = "elsewhere"


def test_specs_carry_every_setting(write: WriteConfig) -> None:
    config = load_config(
        write(),
        [
            "source.features={id: a, input: b, label: c, boxes: d, slices: [e], mask: f}",
            "source.compression=zlib",
            "source.input={shape: [3, 8, 9], channels: first, resize: area, crop: 0.5, "
            "scale: {mean: [1, 2, 3], std: [4, 5, 6]}}",
        ],
    )
    assert config.source_spec(["cat", "dog"]) == SourceSpec(
        format="tfrecord",
        features=Features(id="a", input="b", label="c", boxes="d", slices=("e",), mask="f"),
        compression="zlib",
        class_names=("cat", "dog"),
    )
    assert config.input_spec() == InputSpec(
        kind="image",
        shape=(3, 8, 9),
        channels="first",
        resize="area",
        crop=0.5,
        scale=ChannelScale(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
    )
    assert config.source.patterns == ("data/*.tfrecord",)
    assert load_config(write(), ["source.pattern=[a, b]"]).source.patterns == ("a", "b")


IRRELEVANT = {
    "source.pattern",
    "model.allow_unsafe",
    "explain.batch_size",
    "explain.threads",
    "output.path",
    "failures.max_fraction",
    "runner.direct_num_workers",
    "runner.experiments",
}


@pytest.mark.parametrize(("override", "dotted"), OVERRIDES)
def test_the_fingerprint_has_what_changes_the_bytes_of_an_atlas(
    write: WriteConfig, override: str, dotted: str
) -> None:
    before = load_config(write()).fingerprint_settings()
    after = load_config(write(), [override]).fingerprint_settings()
    assert (before == after) == (dotted in IRRELEVANT)
    assert json.loads(json.dumps(after)) == after


def test_the_defaults_of_later_keys_leave_fingerprints_as_they_were(write: WriteConfig) -> None:
    explicit = [
        "source.input.channels=null",
        "source.input.antialias=false",
        "source.input.fit=stretch",
        "source.input.orientation=stored",
        "source.input.decoder=tensorflow",
        "model.imports=[]",
        "model.inputs=null",
        "model.signature=null",
    ]
    settings = load_config(write(), explicit).fingerprint_settings()
    assert settings["source"]["input"] == {
        "kind": "image",
        "shape": [224, 224, 3],
        "resize": "bilinear",
        "crop": None,
        "scale": "none",
    }
    assert settings["model"] == {"output_layer": None, "output": "as_is"}


def test_every_field_says_what_is_allowed() -> None:
    def check(section: type[pydantic.BaseModel]) -> int:
        count = 0
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(
                field.annotation, pydantic.BaseModel
            ):
                count += check(field.annotation)
            else:
                assert field.description, f"{section.__name__}.{name}"
                count += 1
        return count

    assert check(Config) >= 45  # so that it has walked through all sections


def test_limits_reach_what_reads_and_decodes(write: WriteConfig) -> None:
    config = load_config(write(), ["limits={max_record_bytes: 1000, max_pixels: 2000}"])
    assert config.source_spec().max_record_bytes == 1000
    assert config.input_spec().max_pixels == 2000


def test_plain_saliency_is_settled_as_it_always_was(write: WriteConfig) -> None:
    settings = load_config(write()).fingerprint_settings()["explain"]
    assert settings == {
        "method": "saliency",
        "target": "label",
        "operator": "classification",
        "reducer": "max",
        "precision": "float32",
    }
    named = [["explain.sign=absolute"], ["explain.reducer=max"], ["explain.method={saliency: {}}"]]
    for overrides in named:
        assert load_config(write(), overrides).fingerprint_settings()["explain"] == settings


def test_all_that_a_method_depends_on_is_settled(write: WriteConfig) -> None:
    def settings(*overrides: str) -> dict[str, Any]:
        found: dict[str, Any] = load_config(write(), overrides).fingerprint_settings()["explain"]
        return found

    plain = settings("explain.method=smoothgrad")
    assert plain["method"] == {"smoothgrad": {"samples": 50, "noise": 38.25, "seed": 0}}
    assert (plain["sign"], plain["reducer"]) == ("signed", "mean")
    assert settings("explain.method={smoothgrad: {noise: 38.25}}") == plain
    for override in ("explain.method={smoothgrad: {seed: 1}}", "explain.method=vargrad"):
        assert settings(override) != plain
    assert settings("explain.sign=positive")["sign"] == "positive"


@pytest.mark.parametrize("method", ["rise", "occlusion"])
def test_mixed_precision_is_for_methods_with_gradients(write: WriteConfig, method: str) -> None:
    assert refusal(write(), f"explain.method={method}", "explain.precision=mixed") == (
        f"explain.precision is 'mixed', but explain.method {method} takes no gradient, and mixed "
        "is for the backward pass; choose float32"
    )


def test_maps_without_channels_have_nothing_to_reduce(write: WriteConfig) -> None:
    assert refusal(write(), "explain.method=occlusion", "explain.reducer=max") == (
        "explain.reducer is 'max', but maps of occlusion have no channels to reduce; leave it out"
    )
