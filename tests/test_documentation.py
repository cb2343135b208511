"""No page promises what is not there: links, commands, configurations, keys, presets, rooms."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import documentation
import pydantic
import pytest
import yaml
from architecture import ROOT
from documentation import PAGES, name_of

from pipeline import cli
from pipeline.arguments import split_beam_options
from pipeline.config.keys import LATER_KEYS, Config, load_audit, load_config

CONFIGS, PIPELINE, TRANSFORMS = (
    ROOT / folder / "README.md" for folder in ("configs", "pipeline", "transforms")
)
MAX_README_LINES = 200


def test_the_pages_are_these() -> None:
    assert [name_of(page) for page in PAGES] == [
        ".github/CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        "README.md",
        "configs/README.md",
        "pipeline/README.md",
        "scripts/README.md",
        "transforms/README.md",
    ]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in documentation.links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in documentation.anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_those_there_are(page: Path) -> None:
    for command in documentation.commands(page):
        words = shlex.split(command)
        while "=" in words[0]:  # variables of the environment
            del words[0]
        if words[0] == "saliency-atlas":
            ours, _ = split_beam_options(words[1:])
            cli._parser().parse_args(ours)  # else it exits, and says why
        elif words[0] not in ("pip", "pre-commit"):
            files = [word for word in words if re.match(r"(scripts|tests)/", word)]
            assert files or words[0].endswith("python"), f"nobody checks {command}"
            assert all((ROOT / file).exists() for file in files), command


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`((?:[a-z_.]+/)+[\w.]*)`", documentation.prose(page))
    made = ("demo/", "maps/", ".cache/")
    for each in named:
        path = each.partition("NAME")[0]  # a file that somebody may add
        if path.startswith(made) or path.endswith(".parquet"):
            continue
        places = (ROOT, page.parent, ROOT / "transforms/formats")
        moved = path.startswith(("scripts/engines", ".cache/engines"))  # the changelog's
        assert moved or any((place / path).exists() for place in places), f"{path} is not there"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_configurations_are_accepted(page: Path, tmp_path: Path) -> None:
    for block in documentation.blocks(page, "yaml"):
        path = tmp_path / "config.yaml"
        path.write_text(block)
        if block.startswith("audit:"):
            assert load_audit(str(path)).gates
        else:
            load_config(str(path))


def leaves(model: type[pydantic.BaseModel], prefix: str = "") -> dict[str, Any]:
    """Defaults by dotted key, `...` where one is required."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            found |= leaves(kind, f"{prefix}{name}.")
        elif field.is_required():
            found[f"{prefix}{name}"] = ...
        else:
            found[f"{prefix}{name}"] = field.get_default(call_default_factory=True)
    return found


def test_every_key_is_there_with_its_default() -> None:
    documented = {
        key.strip("`"): default for key, default, *_ in documentation.rows(CONFIGS, "key")
    }
    expected = {
        key: "required" if default is ... else f"`{_as_yaml(default)}`"
        for key, default in leaves(Config).items()
    }
    assert documented == expected
    assert f"{_number(list(expected.values()).count('required'))} keys are required" in (
        CONFIGS.read_text()
    )


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(count: int) -> str:
    return {4: "Four", 5: "Five", 6: "Six"}[count]


def test_keys_that_change_the_bytes_are_marked() -> None:
    marked = {key.strip("`") for key, *_, mark in documentation.rows(CONFIGS, "key") if mark == "●"}
    image = yaml.safe_load((ROOT / "configs/demo-tfrecord.yaml").read_text())
    tensor = {**image, "source": {**image["source"], "input": {"kind": "tensor", "shape": [8]}}}
    tensor["explain"] = {"target": "predicted"}
    image["explain"] |= {"target": "predicted", "sign": "signed", "method": "grad_cam"}
    settings = [Config.from_dict(each).fingerprint_settings() for each in (image, tensor)]
    # What `auto` and a path came to in the run is added there.
    chosen = {f"explain.{key}" for key in ("batch_size", "threads", "engine")} | {"model.uri"}
    chosen |= set(LATER_KEYS)  # These count where they are not what was before.
    known = {key for key in leaves(Config) if any(_has(each, key) for each in settings)}
    assert marked == known | chosen


def _has(settings: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(settings, dict) or part not in settings:
            return False
        settings = settings[part]
    return True


def test_presets_are_there_with_their_options() -> None:
    from pipeline.runners.presets import PRESETS

    documented = {
        name.strip("`"): tuple(re.findall(r"`([^`]+)`", options))
        for name, _, options in documentation.rows(CONFIGS, "`--runner`")
    }
    cores = re.compile(r"(--parallelism)=\d+")
    assert documented == {
        name: tuple(cores.sub(r"\1=CORES", option) for option in options)
        for name, options in PRESETS.items()
    }


def test_exit_codes_are_the_programs() -> None:
    documented = [int(code) for code, *_ in documentation.rows(PIPELINE, "code")]
    ours = (cli.DONE, cli.CONFIGURATION_ERROR, cli.RUN_FAILED, cli.INTERRUPTED, cli.TERMINATED)
    assert documented == [0, 1, 2, 3, 130, 143]
    assert {*ours} < {*documented}


@pytest.mark.parametrize("page", [PIPELINE, TRANSFORMS], ids=name_of)
def test_the_map_has_every_room_once(page: Path) -> None:
    drawn = documentation.tree(page)
    assert all((ROOT / path).exists() for path in drawn), drawn
    rooms = {
        f"{folder.parent.relative_to(ROOT)}/" for folder in page.parent.rglob("*/__init__.py")
    } - {f"{page.parent.name}/"}
    assert sorted(path for path in drawn if path.endswith("/")) == sorted(rooms)


def test_the_way_of_a_configuration_is_the_programs() -> None:
    (way,) = [
        block for block in documentation.blocks(PIPELINE, "") if block.startswith("pipeline/cli.py")
    ]
    for line in way.splitlines():
        path, name = line.split()[:2]
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert hasattr(module, name), f"{path} has no {name}"


def test_statistics_are_those_of_the_tables() -> None:
    from transforms.statistics.columns import statistic_names

    documented = [
        name
        for cell, *_ in documentation.rows(TRANSFORMS, "statistic")
        for name in re.findall(r"`(\w+)`", cell)
    ]
    names = statistic_names(with_boxes=True, with_masks=True, regions=["NAME"], signed=True)
    assert sorted(documented) == sorted(names)


def test_every_room_says_what_it_holds() -> None:
    for path in (*ROOT.glob("pipeline/**/__init__.py"), *ROOT.glob("transforms/**/__init__.py")):
        module = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
        said = (module.__doc__ or "").strip()
        assert said, path
        assert not said.startswith("ROOM"), path
