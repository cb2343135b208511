"""Atlases of a sample: completed, verified, summed again, and said to be one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_dataset import MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands import console
from pipeline.commands.plan import plan
from pipeline.commands.run import run
from pipeline.commands.show import show
from pipeline.commands.summarize import summarize
from pipeline.commands.verify import verify
from pipeline.report.writing import write
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.store.tables import SAMPLE_KEY

SIZE = 9
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(make_config: MakeConfig, tmp_path: Path) -> Make:
    """Makes the atlas of a sample by Beam."""

    def made(mode: Any = "new", **source: Any) -> dict[str, Any]:
        given = {**make_config().as_dict()["source"], "sample": SIZE, **source}
        config = make_config(source=given, output={"path": str(tmp_path / "atlas")})
        return run(config, mode, ["--runner=FnApiRunner"], Progress(None))

    return made


def hash_of(example_id: str) -> str:
    return hashlib.blake2b(example_id.encode(), digest_size=8).hexdigest()


def smallest(rows: list[list[dict[str, Any]]], size: int) -> list[str]:
    ids = [row["id"] for shard in rows for row in shard]
    return sorted(ids, key=hash_of)[:size]


def test_a_sample_is_explained_as_all_would_be(
    make: Make, make_config: MakeConfig, rows: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    manifest = make()

    kept = smallest(rows, SIZE)
    atlas = Atlas.open(str(tmp_path / "atlas"))
    failed = {row["example_id"] for row in atlas.failures.to_pylist()}
    assert {*atlas.table()["example_id"].to_pylist()} | failed == {*kept}
    assert failed == {"0/3", "1/9", "2/4"} & {*kept}
    explained = SIZE - len(failed)
    assert manifest["explained_examples"] == explained
    assert manifest["left_out_records"] == 40 - SIZE
    assert manifest["failed_fraction"] == pytest.approx(len(failed) / SIZE)
    assert atlas.sample is not None
    assert (atlas.sample.size, atlas.sample.examples) == (SIZE, 40)
    assert sum(atlas.classes["n"].to_pylist()) == explained

    # The maps are those that an atlas of everything has, up to their mini-batches' last bits.
    run_in_memory(make_config(output={"path": str(tmp_path / "all")}))
    everything = Atlas.open(str(tmp_path / "all"))
    for name in {*kept} - failed:
        assert abs(everything.map(name) - atlas.map(name)).max() < 1e-2

    assert verify(str(tmp_path / "atlas"), BeamStorage())["problems"] == []


def test_without_beam_resumed_and_summed_again_it_has_the_same_bytes(
    make: Make, make_config: MakeConfig, tmp_path: Path
) -> None:
    make()
    expected = atlas_bytes(tmp_path / "atlas")
    run_in_memory(make_config(source=_sampled(make_config), output={"path": str(tmp_path / "b")}))
    assert atlas_bytes(tmp_path / "b") == expected

    blocks = sorted((tmp_path / "atlas" / "maps").rglob("block-*.parquet"))
    for path in blocks[::2]:
        path.unlink()
    manifest = make("resume")
    assert manifest["metrics"]["blocks_committed"] == len(blocks[::2])
    assert atlas_bytes(tmp_path / "atlas") == expected

    counts = summarize(str(tmp_path / "atlas"), BeamStorage())
    assert counts["unchanged"] is True
    assert counts["left_out_records"] == 40 - SIZE
    assert atlas_bytes(tmp_path / "atlas") == expected


def _sampled(make_config: MakeConfig) -> dict[str, Any]:
    return {**make_config().as_dict()["source"], "sample": SIZE}


def test_the_inputs_are_compared_as_the_sample_has_them(
    make: Make, make_config: MakeConfig, tmp_path: Path
) -> None:
    make()
    config = make_config(source=_sampled(make_config), output={"path": str(tmp_path / "atlas")})
    assert verify(str(tmp_path / "atlas"), BeamStorage(), config)["problems"] == []
    other = make_config(output={"path": str(tmp_path / "atlas")})
    (problem,) = verify(str(tmp_path / "atlas"), BeamStorage(), other)["problems"]
    assert "source.sample" in problem["what"]


def test_another_sample_is_refused(make: Make) -> None:
    make()
    with pytest.raises(ConfigurationError, match=r"source.sample: the atlas has 9, this run 8"):
        make("resume", sample=8)
    with pytest.raises(ConfigurationError, match=r"source.sample: the atlas has 9, this run None"):
        make("resume", sample=None)


def test_it_is_not_extended_by_new_files(make: Make, tfrecords: Path) -> None:
    make(pattern=[str(tfrecords / f"data-{number}.tfrecord") for number in (0, 1)])
    make("extend", pattern=[str(tfrecords / f"data-{number}.tfrecord") for number in (0, 1)])
    with pytest.raises(ConfigurationError, match=r"1 are new to it, such as .*data-2.tfrecord: "):
        make("extend")


def test_it_is_said_wherever_its_numbers_are(
    make: Make, make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make()
    said = f"{SIZE} of 40 examples, those whose ids have the smallest hashes"
    for name in ("statistics/classes.parquet", "failures.parquet"):
        metadata = pq.read_schema(tmp_path / "atlas" / name).metadata
        assert json.loads(metadata[SAMPLE_KEY])["examples"] == 40
    console.print_run(manifest, str(tmp_path / "atlas"), lambda _: [])
    assert f"of 40 records; the sample leaves out {40 - SIZE}" in capsys.readouterr().out
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "page.html"))
    assert said in (tmp_path / "page.html").read_text()
    atlas = Atlas.open(str(tmp_path / "atlas"))
    assert said in atlas._repr_html_()
    assert repr(atlas) == (
        f"<Atlas {atlas.path}, complete: 7 examples explained, 2 records failed; a sample, "
        f"{said}; model {manifest['config']['model']['uri']}>"
    )

    with pytest.raises(ConfigurationError, match=r"the nearest are .*; it has 9 of 40 examples"):
        show(str(tmp_path / "atlas"), "9/9", str(tmp_path / "one.png"))

    config = make_config(source=_sampled(make_config), output={"path": str(tmp_path / "planned")})
    planned = plan(config, BeamStorage())
    assert planned.drawn == said
    assert planned.examples_estimated == SIZE
    console.print_plan(planned.as_dict())
    assert said in capsys.readouterr().out


def test_a_sample_of_more_than_there_are_is_everything(
    make: Make, make_config: MakeConfig, tmp_path: Path
) -> None:
    manifest = make(sample=40)
    assert manifest["left_out_records"] == 0
    run_in_memory(make_config(output={"path": str(tmp_path / "all")}))
    sampled, everything = (
        {each["example_id"] for each in Atlas.open(str(tmp_path / name)).table().to_pylist()}
        for name in ("atlas", "all")
    )
    assert sampled == everything


def test_the_share_that_fails_is_that_of_the_sample(
    make: Make, rows: list[list[dict[str, Any]]]
) -> None:
    # As many as reach the first example that cannot be decoded.
    order = smallest(rows, 40)
    size = 1 + min(order.index(name) for name in ("0/3", "1/9", "2/4"))
    assert make(sample=size)["failed_fraction"] == pytest.approx(1 / size)
