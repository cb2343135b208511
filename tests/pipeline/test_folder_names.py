"""Folders may have any name that a disk takes, such as bytes that are not UTF-8."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_dataset import MakeConfig

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.commands.verify import verify
from pipeline.run.in_memory import run_in_memory
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage, to_text

NAME = os.fsdecode(b"caf\xe9 \xff")  # Latin-1, and what is a letter in no encoding of Unicode


@pytest.fixture(scope="module")
def folder(
    config_at: MakeConfig,
    parquets: Path,
    model_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """A folder of that name with inputs, model, an atlas `a`, and a copy of it `b`."""
    root = tmp_path_factory.mktemp("folder") / NAME
    shutil.copytree(parquets, root / "data")
    shutil.copy(model_path, root / "model.keras")
    config = config_at(
        Path("a"),
        source={"pattern": "data/*.parquet", "format": "parquet"},
        model={"uri": "model.keras"},
        audit={"gates": [{"statistic": "failed_fraction", "change": {"within": 0.1}}]},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_in_memory(config)
        assert verify("a", LocalStorage(), config)["problems"] == []
    shutil.copytree(root / "a", root / "b")
    return str(root)


def test_an_atlas_is_read_from_there(folder: str, finished_atlas: Path) -> None:
    atlas, plain = Atlas.open(f"{folder}/a/"), Atlas.open(str(finished_atlas))
    assert atlas.path == f"{folder}/a"
    assert atlas.classes.num_rows == plain.classes.num_rows
    assert atlas.read_file("nothing") is None
    for each in plain.maps():
        np.testing.assert_array_equal(atlas.map(each.example_id, each.target), each.values)
    (found,) = atlas.examples(order_by="entropy", limit=1)
    (expected,) = plain.examples(order_by="entropy", limit=1)
    assert found.row["example_id"] == expected.row["example_id"]
    paths = atlas.block_paths
    assert [atlas.open_block(path).metadata.num_rows for path in paths] == [
        plain.open_block(path).metadata.num_rows for path in plain.block_paths
    ]
    assert all(os.path.isfile(path) for path in paths)


def test_a_configuration_says_how_to_get_there(config_at: MakeConfig, folder: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config_at(Path(folder) / "c")
    assert str(caught.value).endswith(
        "it must be UTF-8, which not all of it is; run in that folder, and give a path from there"
    )


@pytest.mark.parametrize(
    "command",
    [
        "show {a} 1/11 --output {a}.png",
        "verify {a}",
        "summarize {a}",
        "audit {a} --baseline {b}",
        "report {a} --baseline {b}",
        "compare {a} {b}",
    ],
)
@pytest.mark.parametrize("form", ["", " --json"], ids=["people", "json"])
def test_every_command_takes_it(
    folder: str, command: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"{a}": f"{folder}/a", "{b}": f"{folder}/b", "{a}.png": f"{folder}/a.png"}
    code = cli.main([paths.get(each, each) for each in f"{command}{form}".split()])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    said.out.encode()  # there is no half of a letter in it
    if form:
        document = json.loads(said.out)
        first = document["first"]["atlas"] if "first" in document else document.get("atlas")
        assert first in (None, paths["{a}"], to_text(paths["{a}"]))
