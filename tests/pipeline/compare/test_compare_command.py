"""`saliency-atlas compare`: on a runner, as tables, and what it refuses, word for word."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_atlases import Made, fake_codes, write_atlas
from scipy import stats
from small_dataset import MakeConfig

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.compare.compare import compare
from pipeline.compare.relation import relate
from pipeline.compare.result import AtlasComparison
from pipeline.report.comparison.section import compare_with
from pipeline.report.drawing.maps import PictureMaps

FIRST = Made(camera=["left", "right"] * 23 + ["left"])
MOVED = [("/x/c.tfrecord", 30), ("/x/d.tfrecord", 17)]
OTHER_MODEL: dict[str, Any] = {"model": "b", "codes": fake_codes(1)}


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    """Writes an atlas and another one, which differs; returns their paths."""

    def write(first: Made = FIRST, **changes: Any) -> tuple[str, str]:
        other = dataclasses.replace(first, **changes)
        return write_atlas(tmp_path / "a", first), write_atlas(tmp_path / "b", other)

    return write


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["compare", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_runner_finds_what_this_process_finds(pair: Any, capsys: Any) -> None:
    paths = pair(**OTHER_MODEL)
    code, printed, _ = run(capsys, *paths, "--json")
    assert code == 0
    expected = compare(relate(*map(Atlas.open, paths)))
    assert printed == expected.to_json().decode()
    flags = ["--", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]
    assert run(capsys, *paths, "--json", *flags)[:2] == (0, printed)


def test_people_read_a_table(pair: Any, capsys: Any) -> None:
    ids = [f"[red]{number}\x1b[31m" for number in range(47)]
    paths = pair(dataclasses.replace(FIRST, ids=ids), **OTHER_MODEL)
    code, printed, _ = run(capsys, *paths)
    assert code == 0
    assert printed.startswith("the same data and another model:\n")
    for words in (
        '"a.keras", then "b.keras"',
        "47, met by place",
        "47, by their codes",
        "0 of 47: 0.000 (0.000 to 0.076)",
        "Classes whose maps are least alike",
        "[red]",
    ):
        assert words in printed
    assert "\x1b" not in printed


def test_other_data_are_compared_by_their_tables(pair: Any, capsys: Any) -> None:
    paths = pair(dataclasses.replace(FIRST, ids=None), ids=None, files=MOVED)
    code, printed, _ = run(capsys, *paths)
    assert code == 0
    assert printed.startswith("the same model and other data:\n")
    assert "camera left" in printed
    code, printed, _ = run(capsys, *paths, "--json")
    assert json.loads(printed)["distributions"]["slices_in_all"] == 12


def test_a_sample_is_said_to_be_one(pair: Any, capsys: Any) -> None:
    drawn = {"size": 47, "examples": 4000, "last": {"id_hash": "f", "folder": "c", "record": 9}}
    paths = pair(**OTHER_MODEL, sample=drawn)
    _, printed, _ = run(capsys, *paths)
    said = "a sample, 47 of 4,000 examples, those whose ids have the smallest hashes"
    assert printed.count("a sample") == 1
    assert f"saliency of b.keras; {said}" in printed
    found = json.loads(run(capsys, *paths, "--json")[1])
    assert found["first"]["sample"] is None
    assert found["second"]["sample"] == {"size": 47, "examples": 4000}
    section = compare_with(Atlas.open(paths[0]), Atlas.open(paths[1]), PictureMaps())
    assert dict(section.facts)["sample of the baseline"] == said.removeprefix("a sample, ")


def test_a_runner_for_tables_is_refused(pair: Any, capsys: Any) -> None:
    paths = pair(dataclasses.replace(FIRST, ids=None), ids=None, files=MOVED)
    assert run(capsys, *paths, "--runner", "local-multi")[::2] == (
        2,
        "error: these are the same model and other data, of which small tables are compared, on no "
        "runner: leave out --runner local-multi\n",
    )


@pytest.mark.parametrize(
    ("changes", "kind", "keys"),
    [
        ({"explain": {"method": "smoothgrad"}}, "method", ["explain.method"]),
        ({"explain": {"precision": "mixed", "threads": 7}}, "method", ["explain.precision"]),
        (
            {"model": "b", "explain": {"reducer": "mean"}},
            "model",
            ["model", "explain.reducer"],
        ),
        ({"explain": {"batch_size": 9}}, "same", []),
        ({"sample": {"size": 50, "examples": 47, "last": None}}, "data", []),
    ],
)
def test_it_says_what_the_two_are(
    pair: Any, changes: dict[str, Any], kind: str, keys: list[str]
) -> None:
    relation = relate(*map(Atlas.open, pair(**changes)))
    assert (relation.kind, [each.key for each in relation.differences]) == (kind, keys)


@pytest.mark.parametrize(
    ("first", "changes", "said"),
    [
        (
            FIRST,
            {"model": "b", "names": ("ant", "cat", "bee")},
            "class 1 is 'bee' in one and 'cat' in the other; make both with the same "
            "source.classes",
        ),
        (
            FIRST,
            {"model": "b", "names": ("ant", "bee")},
            "one has 3 names of classes, the other 2; make both with the same source.classes",
        ),
        (
            FIRST,
            {"model": "b", "codes": fake_codes(0, shape=(5, 5)), "sketch": (5, 5)},
            "their maps have other sizes, and statistics.sketch is [4, 4] and [5, 5]; make both "
            "with the same statistics.sketch",
        ),
        (
            dataclasses.replace(FIRST, ids=None),
            {"model": "b", "files": MOVED},
            "their data differ, and so do their models, so whatever moved may be due to either; "
            "give two of the same data, or of the same model and method, or "
            "name the examples by source.features.id",
        ),
        (
            dataclasses.replace(FIRST, ids=None),
            {"explain": {"method": "rise"}, "files": MOVED},
            "their data differ, and so does explain.method, so whatever moved may be due to "
            "either; give two of the same data, or of the same model and method, or "
            "name the examples by source.features.id",
        ),
        (
            FIRST,
            {"model": "b", "files": MOVED, "ids": [f"other-{n}" for n in range(47)]},
            "they have no example in common (no id is in both); give two atlases of the same data",
        ),
    ],
)
def test_what_does_not_compare(
    pair: Any, capsys: Any, first: Made, changes: dict[str, Any], said: str
) -> None:
    one, other = pair(first, **changes)
    assert run(capsys, one, other, "--quiet")[::2] == (
        2,
        f"error: {other} does not compare with {one}: {said}\n",
    )


@pytest.mark.parametrize("status", ["incomplete", "failed"])
@pytest.mark.parametrize("side", [0, 1])
def test_an_atlas_that_is_not_whole(tmp_path: Path, capsys: Any, status: Any, side: int) -> None:
    made = [FIRST, dataclasses.replace(FIRST, **OTHER_MODEL)]
    made[side] = dataclasses.replace(made[side], status=status)
    paths = [write_atlas(tmp_path / str(n), each) for n, each in enumerate(made)]
    code, _, said = run(capsys, *paths)
    assert code == 3
    words = "is incomplete: complete it" if status == "incomplete" else "has failed: more is broken"
    assert said.startswith(f"error: the atlas {paths[side]} {words}")


def test_the_same_atlas_twice(pair: Any, capsys: Any) -> None:
    path, _ = pair()
    assert run(capsys, path, f"{path}/")[::2] == (
        2,
        f"error: {path} is given twice: give two atlases\n",
    )


def test_no_atlas(tmp_path: Path, pair: Any, capsys: Any) -> None:
    code, _, said = run(capsys, pair()[0], str(tmp_path))
    assert code == 2
    assert said.startswith(f"error: {tmp_path} is no atlas")


def test_a_block_that_is_gone_or_damaged(pair: Any, capsys: Any) -> None:
    paths = pair(**OTHER_MODEL)
    (block, *_) = sorted(Path(paths[1]).glob("maps/*/*.parquet"))
    data = bytearray(block.read_bytes())
    data[300:5000] = bytes(len(data[300:5000]))
    block.write_bytes(data)
    code, _, said = run(capsys, *paths)
    assert code == 3
    assert "cannot be compared" in said
    assert "saliency-atlas verify says which is damaged" in said
    block.unlink()
    code, _, said = run(capsys, *paths)
    assert code == 3
    assert said == (
        f"error: {paths[1]} has 6 of its 7 blocks: saliency-atlas verify says which are missing, "
        "and run --resume makes them anew\n"
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runner=FnApiRuner"], "Beam has no runner 'FnApiRuner'"),
        (["--direct_num_worker=2"], "unknown Beam option --direct_num_worker"),
        (["--no_wait_until_finish"], "compare prints what it finds, so it has to wait for it"),
    ],
)
def test_wrong_options(pair: Any, capsys: Any, flags: list[str], said: str) -> None:
    code, _, message = run(capsys, *pair(**OTHER_MODEL), "--", *flags)
    assert code == 2
    assert said in message


def test_another_method_of_a_real_run(
    finished_atlas: Path, make_config: MakeConfig, capsys: Any
) -> None:
    from pipeline.run.in_memory import run_in_memory

    config = make_config(explain={"method": "gradient_input"}, output={"block_size": 5})
    run_in_memory(config)
    atlas = Atlas.open(config.output.path)
    code, printed, _ = run(capsys, str(finished_atlas), config.output.path, "--json")
    assert code == 0
    found = AtlasComparison.from_json(printed)
    assert found.relation == "method"
    assert {each.key for each in found.differences} >= {"explain.method", "explain.sign"}
    assert found.joined is not None
    assert found.joined.examples == found.first.examples == 37
    assert (found.joined.only_first, found.joined.predictions.flips) == (0, 0)
    values = [
        stats.spearmanr(*(np.abs(each.map(name)).reshape(-1) for each in (first, atlas)))[0]
        for first in (Atlas.open(str(finished_atlas)),)
        for name in atlas.table(["example_id"])["example_id"].to_pylist()
    ]
    assert found.joined.spearman.mean.value == pytest.approx(np.mean(values), abs=1e-6)
