"""Regions and masks from both formats to tables, gates, and what completes or checks an atlas."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_dataset import BLOCK_SIZE, SHARD_SIZES, SIDE, MakeConfig, atlas_bytes

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.commands.run import run
from pipeline.commands.summarize import summarize
from pipeline.commands.verify import verify
from pipeline.config.audit_section import AuditSection
from pipeline.config.keys import Config
from pipeline.run.in_memory import run_in_memory
from pipeline.run.progress import Progress
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

RUNNER = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading"]
LEFT = np.zeros((6, 6), bool)  # half as fine as the images
LEFT[:, :2] = True
REGIONS = {"top": [[0, 0, 0.25, 1]], "left": "left.png"}
WITHOUT_MASK, WITH_A_BAD_ONE = 2, 5  # of each shard


def png(pixels: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def mask_of(number: int) -> npt.NDArray[np.bool_]:
    """A mask of twelve by twelve, another one for each example of a shard."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[number % 5 :, : 3 + number % 7] = True
    return mask


@pytest.fixture(scope="module")
def with_masks(rows: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small dataset with a mask for most examples, in both formats, and a region's mask."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("with_masks")
    (folder / "left.png").write_bytes(png(LEFT))
    for shard, examples in enumerate(rows):
        masks: list[bytes | None] = [png(mask_of(number)) for number in range(len(examples))]
        masks[WITHOUT_MASK] = None
        if len(masks) > WITH_A_BAD_ONE:
            masks[WITH_A_BAD_ONE] = b"no mask"
        table = pa.Table.from_pylist(examples).append_column("mask", pa.array(masks, pa.binary()))
        pq.write_table(table, folder / f"data-{shard}.parquet", row_group_size=5)
        with tf.io.TFRecordWriter(str(folder / f"data-{shard}.tfrecord")) as writer:
            for row in table.to_pylist():
                example = tf.train.Example()
                feature = example.features.feature
                feature["id"].bytes_list.value.append(row["id"].encode())
                feature["image"].bytes_list.value.append(row["image"])
                feature["label"].int64_list.value.append(row["label"])
                if row["mask"] is not None:
                    feature["mask"].bytes_list.value.append(row["mask"])
                writer.write(example.SerializeToString())
    return folder


@pytest.fixture
def placed(make_config: MakeConfig, with_masks: Path, tmp_path: Path) -> MakeConfig:
    """Makes a configuration with masks and regions, of a format."""

    def make(file_format: str = "parquet", name: str = "atlas", **statistics: Any) -> Config:
        source = make_config().as_dict()["source"]
        features = {**source["features"], "mask": "mask"}
        pattern = str(with_masks / f"*.{file_format}")
        regions = {**REGIONS, "left": str(with_masks / "left.png")}
        return make_config(
            source={**source, "pattern": pattern, "format": file_format, "features": features},
            output={"path": str(tmp_path / name), "codec": "float32"},
            statistics={"regions": regions, **statistics},
        )

    return make


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    """The number of each example in its shard."""
    return {
        f"{shard}/{number}": number
        for shard, size in enumerate(SHARD_SIZES)
        for number in range(size)
    }


def test_energies_are_those_of_the_stored_maps(
    placed: MakeConfig, numbers: dict[str, int], tmp_path: Path
) -> None:
    made = run_in_memory(placed())
    assert made["map_format"]["with_masks"] is True
    assert made["map_format"]["regions"] == {"left": pytest.approx(1 / 3), "top": 0.25}
    atlas = Atlas.open(str(tmp_path / "atlas"))
    stored = {found.example_id: found.values for found in atlas.maps()}
    for row in atlas.table().to_pylist():
        number = numbers[row["example_id"]]
        unit = stored[row["example_id"]].astype(np.float64)
        unit /= unit.sum()
        assert row["top_energy"] == pytest.approx(unit[:3].sum(), rel=1e-5)
        assert row["left_energy"] == pytest.approx(unit[:, :4].sum(), rel=1e-5)
        if number == WITHOUT_MASK:
            assert row["mask_energy"] is row["pointing_hit"] is None
            continue
        mask = mask_of(number)
        assert row["mask_energy"] == pytest.approx(unit[mask].sum(), rel=1e-5)
        assert row["pointing_hit"] is bool(mask.reshape(-1)[unit.argmax()])
    bad = [row for row in atlas.failures.to_pylist() if row["error"] == "UndecodableMask"]
    assert [row["record"] for row in bad] == [WITH_A_BAD_ONE] * 2
    assert bad[0]["message"].startswith("the mask (source.features.mask) cannot be decoded")


def test_regions_are_in_all_tables_gates_and_rebuilt_statistics(
    placed: MakeConfig, tmp_path: Path
) -> None:
    run(placed("tfrecord"), "new", RUNNER, Progress(None))
    run_in_memory(placed("tfrecord", "again"))
    root = tmp_path / "atlas"
    files = atlas_bytes(root)
    assert files == atlas_bytes(tmp_path / "again")
    atlas = Atlas.open(str(root))
    energies = atlas.table(["target", "top_energy", "mask_energy"])
    for name in ("top_energy", "mask_energy"):
        means = energies.group_by("target").aggregate([(name, "mean")]).sort_by("target")
        column = atlas.classes[f"{name}_mean"].to_numpy()
        np.testing.assert_allclose(column, means[f"{name}_mean"].to_numpy(), rtol=1e-6)
        assert {f"{name}_std", f"{name}_q95", f"{name}_histogram"} <= {*atlas.slices.column_names}
    defined = np.array([sum(each) for each in atlas.classes["mask_energy_histogram"].to_pylist()])
    assert defined.sum() == len(energies) - energies["mask_energy"].null_count < len(energies)

    gates: dict[str, Any] = {
        "min_n": 2,
        "gates": [
            {"statistic": "top_energy_mean", "below": 0.9},
            {"statistic": "left_energy_q50", "below": 0.01},
            {"statistic": "pointing_hit_mean", "above": 0.0, "name": "hits"},
        ],
    }
    result = audit(atlas, AuditSection.model_validate(gates))
    by_gate: dict[str, list[Any]] = {}
    for each in result.gates:
        by_gate.setdefault(each.gate, []).append(each)
    assert {each.verdict for each in by_gate["top_energy_mean"]} == {"pass"}
    assert "fail" in {each.verdict for each in by_gate["left_energy_q50"]} <= {"fail", "undecided"}
    assert [each.n for each in by_gate["hits"]] == defined.tolist()

    (root / "statistics" / "classes.parquet").unlink()
    summarize(str(root), LocalStorage())
    assert atlas_bytes(root) == files
    assert verify(str(root), LocalStorage(), placed("tfrecord"))["problems"] == []


def test_other_regions_are_no_continuation(placed: MakeConfig, tmp_path: Path) -> None:
    run_in_memory(placed())
    whole = atlas_bytes(tmp_path / "atlas")
    block = next((tmp_path / "atlas" / "maps").rglob("block-00001.parquet"))
    block.unlink()
    # Another file that shows the same is the same region; the order of names does not matter.
    copy = tmp_path / "copy.png"
    copy.write_bytes(png(LEFT.astype(np.uint8) * 9))
    same = {"left": str(copy), "top": [[0, 0, 0.25, 1]]}
    run_in_memory(placed(regions=same), "resume")
    assert atlas_bytes(tmp_path / "atlas") == whole
    copy.write_bytes(png(~LEFT))
    with pytest.raises(ConfigurationError, match=r"statistics.regions.left.mask: the atlas has '"):
        run_in_memory(placed(regions=same), "resume")
    problems = verify(str(tmp_path / "atlas"), LocalStorage(), placed(regions=same))["problems"]
    assert ["statistics.regions.left.mask" in each["what"] for each in problems] == [True]


def test_each_image_is_cropped_by_itself(make_config: MakeConfig, tmp_path: Path) -> None:
    """Two images of which the model is shown the same: so are what is above and inside."""
    draw = np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    tall = np.concatenate([draw, draw, draw])  # of which the middle is shown
    count = BLOCK_SIZE + 1
    table = pa.table(
        {
            "image": [png(draw), png(tall)] * count,
            "label": [0, 0] * count,
            "mask": [png(np.ones((2, 1), np.uint8)), png(np.array([[0], [1], [0]], np.uint8))]
            * count,
        }
    )
    pq.write_table(table, tmp_path / "data.parquet")
    source = make_config().as_dict()["source"]
    config = make_config(
        source={
            **source,
            "pattern": str(tmp_path / "data.parquet"),
            "format": "parquet",
            "features": {"input": "image", "label": "label", "mask": "mask"},
            "input": {**source["input"], "fit": "crop"},
        },
        statistics={"regions": {"upper": [[0, 0, 0.5, 1]]}},
    )
    run_in_memory(config)
    found = Atlas.open(str(tmp_path / "atlas")).table(["upper_energy", "mask_energy", "sketch"])
    upper = found["upper_energy"].to_numpy()
    assert len(found) == 2 * count
    np.testing.assert_array_equal(upper, upper[0])
    np.testing.assert_allclose(found["mask_energy"].to_numpy(), 1, rtol=1e-6)
