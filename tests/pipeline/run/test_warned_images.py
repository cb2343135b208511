"""Images that libjpeg warns of: explained, counted, listed, the same by every way to an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
from small_dataset import CLASSES, MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.commands.console import print_run
from pipeline.commands.run import run
from pipeline.commands.summarize import summarize
from pipeline.commands.verify import verify
from pipeline.config.keys import Config
from pipeline.report.writing import write
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.storage import LocalStorage
from transforms.store.outcome.record import MOST_WARNINGS

SIZES = (19, 16, 5)
_SCAN = b"\xff\xda"


def shards() -> list[list[bytes]]:
    """JPEGs by shard; of two in three some bits of the scan's data are flipped."""
    random = np.random.default_rng(11)
    found = []
    for size in SIZES:
        images = []
        for number in range(size):
            pixels = random.integers(0, 256, (24, 20, 3), np.uint8)
            data = bytearray(simplejpeg.encode_jpeg(pixels, 70, "RGB", "420"))
            start = data.index(_SCAN) + 14
            for _ in range(3 * (number % 3)):
                place = int(random.integers(8 * start, 8 * (len(data) - 2)))
                data[place // 8] ^= 1 << place % 8
            images.append(bytes(data))
        found.append(images)
    return found


def warning(data: bytes) -> str | None:
    """What simplejpeg says of a JPEG, asked by itself."""
    try:
        simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def expected() -> list[list[str | None]]:
    return [[warning(data) for data in images] for images in shards()]


@pytest.fixture
def config(make_config: MakeConfig, tmp_path: Path) -> Config:
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for number, images in enumerate(shards()):
        labels = [row % CLASSES for row in range(len(images))]
        table = pa.table({"image": pa.array(images, pa.binary()), "label": labels})
        pq.write_table(table, folder / f"data-{number}.parquet", row_group_size=7)
    features = {"input": "image", "label": "label"}
    source = {"pattern": str(folder / "*"), "format": "parquet", "features": features}
    return make_config(source=source)


def test_they_are_counted_and_the_first_are_named(
    config: Config,
    expected: list[list[str | None]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    manifest = run_in_memory(config)
    explained = Atlas.open(config.output.path).table(["shard", "record"]).to_pylist()
    told = []
    for row in explained:  # in order of shard and record
        number = int(row["shard"].removeprefix("data-").removesuffix(".parquet"))
        message = expected[number][row["record"]]
        if message is not None:
            told.append((number, row["record"], message))
    assert len(told) > MOST_WARNINGS
    assert len({number for number, *_ in told}) == len(SIZES)
    assert manifest["warned_images"] == len(told)
    first = [(each["path"], each["record"], each["message"]) for each in manifest["first_warnings"]]
    folder = Path(config.source.pattern).parent  # type: ignore[arg-type] # one pattern
    assert first == [
        (str(folder / f"data-{number}.parquet"), record, message)
        for number, record, message in told[:MOST_WARNINGS]
    ]
    print_run(manifest, config.output.path, lambda _: [])
    path, record, message = first[0]
    printed = capsys.readouterr().out
    line = f"{len(told)} images, the first is record {record} of {path}: {message}"
    assert line in " ".join(printed.split())
    page = tmp_path / "report.html"
    write(Atlas.open(config.output.path), str(page))
    text = page.read_text()
    assert f"a warning for {len(told)} images among those" in text
    assert message in text


def test_they_are_the_same_by_every_way_to_an_atlas(config: Config) -> None:
    run_in_memory(config)
    root = Path(config.output.path)
    files, facts = atlas_bytes(root), _facts(root)
    assert facts["warned_images"]
    run(config, "overwrite", [], Progress(None), None)
    assert (atlas_bytes(root), _facts(root)) == (files, facts)
    for block in root.glob("maps/*/block-00001.parquet"):
        block.unlink()
    run(config, "resume", [], Progress(None), None)
    assert (atlas_bytes(root), _facts(root)) == (files, facts)
    summarize(str(root), LocalStorage())
    assert _facts(root) == facts
    verified = verify(str(root), LocalStorage())
    assert verified["problems"] == []
    assert verified["warned_images"] == facts["warned_images"]


def _facts(root: Path) -> dict[str, Any]:
    manifest = Atlas.open(str(root)).manifest
    return {name: manifest[name] for name in ("warned_images", "first_warnings", "records_read")}
