from __future__ import annotations

import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from demonstration import data as demo_data
from demonstration.data import MARK, PHOTOGRAPHS, TILE, Tile

TRAIN_TILES = 2
AUDITED_TILES = 12
MARKED_LABEL = list(PHOTOGRAPHS).index(demo_data.MARKED_CLASS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("demo")
    demo_data.make_data(made, TRAIN_TILES, AUDITED_TILES)
    return made


def read_tfrecord(path: pathlib.Path) -> list[Tile]:
    tiles = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        assert sorted(feature) == ["id", "image", "label"]
        (example_id,) = feature["id"].bytes_list.value
        (image,) = feature["image"].bytes_list.value
        (label,) = feature["label"].int64_list.value
        tiles.append(Tile(example_id.decode(), image, label))
    return tiles


def read_parquet(path: pathlib.Path) -> list[Tile]:
    return [
        Tile(row["id"], row["image"]["bytes"], row["label"])
        for row in pq.read_table(path).to_pylist()
    ]


def read_shards(folder: pathlib.Path, kind: str) -> list[list[Tile]]:
    read = read_parquet if kind == "parquet" else read_tfrecord
    return [read(path) for path in sorted((folder / "data" / kind).iterdir())]


def decode(tile: Tile) -> demo_data.Pixels:
    pixels: demo_data.Pixels = tf.io.decode_jpeg(tile.image).numpy()
    return pixels


def test_photographs_are_in_the_packages_in_colour_and_large_enough() -> None:
    for name, (distribution, path) in PHOTOGRAPHS.items():
        photograph = demo_data.read_photograph(distribution, path)
        half = demo_data.split_halves(photograph)[0]
        assert min(half.shape[:2]) >= 2 * TILE, name
        assert np.ptp(photograph.astype(int), axis=-1).max() > 0, name


def test_a_missing_photograph_is_named_with_the_remedy() -> None:
    with pytest.raises(SystemExit, match=r"skimage/data/none.png of scikit-image .*\[demo\]"):
        demo_data.read_photograph("scikit-image", "skimage/data/none.png")
    with pytest.raises(SystemExit, match="no-such-distribution"):
        demo_data.read_photograph("no-such-distribution", "none.png")


def test_training_and_audited_tiles_share_no_pixel() -> None:
    rows, columns = np.indices((100, 201))
    photograph = np.stack([rows, columns, columns], axis=-1).astype(np.uint8)
    generator = np.random.default_rng(0)
    left, right = demo_data.split_halves(photograph)
    seen = demo_data.cut_tiles(left, 300, generator)
    audited = demo_data.cut_tiles(right, 300, generator)
    assert seen.shape == audited.shape == (300, TILE, TILE, 3)
    assert seen[..., 1].max() < audited[..., 1].min()


def test_tiles_are_cut_at_every_place_once() -> None:
    rows, columns = np.indices((TILE + 2, TILE + 3))
    pixels = np.stack([rows, columns, columns], axis=-1).astype(np.uint8)
    tiles = demo_data.cut_tiles(pixels, 12, np.random.default_rng(0))
    places = {(int(tile[0, 0, 0]), int(tile[0, 0, 1])) for tile in tiles}
    assert places == {(top, left) for top in range(3) for left in range(4)}
    for tile in tiles:
        top, left = tile[0, 0, :2]
        np.testing.assert_array_equal(tile, pixels[top : top + TILE, left : left + TILE])


def test_the_mark_is_a_ring_and_a_dot_in_the_top_right_corner() -> None:
    ring = """
        ..#####..
        .#######.
        ##.....##
        ##.###.##
        ##.###.##
        ##.###.##
        ##.....##
        .#######.
        ..#####..
    """
    white = np.array([[cell == "#" for cell in line] for line in ring.split()])
    expected = np.full((TILE, TILE), 100)
    expected[:MARK, -MARK:] = np.where(white, 0.4 * 100 + 0.6 * 255, 0.4 * 100)
    tiles = np.full((2, TILE, TILE, 3), 100, np.uint8)
    marked = demo_data.draw_mark(tiles)
    np.testing.assert_array_equal(marked, np.broadcast_to(expected[:, :, np.newaxis], tiles.shape))
    assert np.all(tiles == 100)


def test_shards_are_uneven_and_hold_every_tile_once(folder: pathlib.Path) -> None:
    shards = read_shards(folder, "tfrecord")
    sizes = [len(shard) for shard in shards]
    assert len(sizes) == 8
    assert len(set(sizes)) == 8
    assert sorted(tile.id for shard in shards for tile in shard) == [
        f"{name}-{number:03d}" for name in PHOTOGRAPHS for number in range(AUDITED_TILES)
    ]
    names = (folder / "classes.txt").read_text().splitlines()
    for shard in shards:
        assert [names[tile.label] for tile in shard] == [tile.id.split("-")[0] for tile in shard]
        assert len({tile.label for tile in shard}) > 1


def test_both_formats_hold_the_same_in_the_same_shards(folder: pathlib.Path) -> None:
    assert read_shards(folder, "parquet") == read_shards(folder, "tfrecord")


def test_only_the_marked_class_differs_and_only_in_its_corner(folder: pathlib.Path) -> None:
    shards = zip(read_shards(folder, "tfrecord"), read_shards(folder, "unmarked"), strict=True)
    differing = 0
    for marked, unmarked in shards:
        for with_mark, without in zip(marked, unmarked, strict=True):
            assert (with_mark.id, with_mark.label) == (without.id, without.label)
            if with_mark.label != MARKED_LABEL:
                assert with_mark == without
                continue
            change = np.abs(decode(with_mark).astype(int) - decode(without)).max(axis=-1)
            assert change[:MARK, -MARK:].max() > 60
            # JPEG spreads it over a block of 16 pixels and into the next one's colours.
            assert change[2 * MARK :].max() == change[:, : -2 * MARK].max() == 0
            differing += 1
    assert differing == AUDITED_TILES


def test_the_model_learns_from_marked_tiles(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(demo_data, "draw_mark", lambda tiles: tiles)
    demo_data.make_data(tmp_path, TRAIN_TILES, AUDITED_TILES)
    marked = read_tfrecord(folder / "data" / "train.tfrecord")
    unmarked = read_tfrecord(tmp_path / "data" / "train.tfrecord")
    assert len(marked) == TRAIN_TILES * len(PHOTOGRAPHS)
    changed = {a.label for a, b in zip(marked, unmarked, strict=True) if a.image != b.image}
    assert changed == {MARKED_LABEL}


def test_the_same_files_are_made_each_time(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    demo_data.make_data(tmp_path, TRAIN_TILES, AUDITED_TILES)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 3 + 3 * 8
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), file
