"""Hundreds of mutations of an atlas's files, one at a time: `verify` misses none of them."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commands.verify import verify
from transforms.errors import ConfigurationError
from transforms.storage import LocalStorage

MUTATIONS = 500
STORAGE = LocalStorage()


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One change of an atlas, by `apply(atlas, a random source)`, which says what it did."""

    name: str
    apply: Callable[[Path, random.Random], str]


def some_file(atlas: Path, chance: random.Random, pattern: str = "**/*.*") -> Path:
    files = [path for path in sorted(atlas.glob(pattern)) if path.is_file()]
    return chance.choice(files)


def flip_bit(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance)
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"{path.name} byte {place}"


def zero_bytes(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance)
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.choice((1, 64, 4096)))
    if not any(data[start:end]):
        data[start] = 1
    else:
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    return f"{path.name} {start}:{end}"


def truncate(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance)
    data = path.read_bytes()
    keep = chance.choice((0, len(data) // 2, len(data) - 1))
    path.write_bytes(data[:keep])
    return f"{path.name} to {keep}"


def append(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance)
    path.write_bytes(path.read_bytes() + bytes([chance.randrange(256)]) * chance.choice((1, 9)))
    return path.name


def remove(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance)
    path.unlink()
    return path.name


def exchange(atlas: Path, chance: random.Random) -> str:
    first, second = chance.sample(sorted(atlas.glob("maps/*/*.parquet")), 2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    return f"{first.name} and {second.name}"


def copy(atlas: Path, chance: random.Random) -> str:
    path = some_file(atlas, chance, "maps/*/*.parquet")
    number = chance.randrange(9)
    place = chance.choice(
        (
            path.with_name(f"block-{number + 7:05d}.parquet"),
            path.with_name(f"block-{number:06d}.parquet"),
            path.with_name(f"{number}.parquet"),
            path.parent / "deeper" / path.name,
            atlas / "maps" / f"other-{number}" / path.name,
            atlas / "maps" / path.name,
        )
    )
    place.parent.mkdir(exist_ok=True)
    shutil.copy(path, place)
    return f"{path.name} to {place.relative_to(atlas)}"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))
    else:
        yield path


def change_manifest(atlas: Path, chance: random.Random) -> str:
    path = atlas / "manifest.json"
    manifest = json.loads(path.read_text())
    *parents, key = chance.choice(list(places(manifest)))
    inside = manifest
    for parent in parents:
        inside = inside[parent]
    value = inside[key]
    if isinstance(value, bool) or value is None:
        inside[key] = 1
    elif isinstance(value, int | float):
        inside[key] = value + chance.choice((1, -1, 0.5))
    elif isinstance(value, str):
        inside[key] = f"{value}x"
    else:
        inside[key] = ["x"]
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return f"{(*parents, key)} from {value!r}"


def change_status(atlas: Path, chance: random.Random) -> str:
    path = atlas / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["status"] = chance.choice(("failed", "incomplete", "done", None))
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return str(manifest["status"])


def change_statistics(atlas: Path, chance: random.Random) -> str:
    path = atlas / "statistics" / "classes.parquet"
    table = pq.read_table(path)
    name = chance.choice([field.name for field in table.schema if field.type == pa.float64()])
    values = table[name].to_pylist()
    row = chance.randrange(len(values))
    values[row] = 2.5 if values[row] is None else None
    index = table.schema.get_field_index(name)
    changed = table.set_column(index, table.schema.field(index), pa.array(values, pa.float64()))
    pq.write_table(changed, path, compression="zstd")
    return f"{name} of row {row}"


ALL = [
    Mutation(function.__name__, function)
    for function in (
        flip_bit,
        zero_bytes,
        truncate,
        append,
        remove,
        exchange,
        copy,
        change_manifest,
        change_status,
        change_statistics,
    )
]


def is_noticed(atlas: Path) -> bool:
    try:
        return bool(verify(str(atlas), STORAGE)["problems"])
    except ConfigurationError:  # It is an atlas of another format now.
        return True


def test_no_mutation_is_missed(finished_atlas: Path, tmp_path: Path) -> None:
    assert verify(str(finished_atlas), STORAGE)["problems"] == []
    missed = []
    mutated = tmp_path / "mutated"
    for seed in range(MUTATIONS):
        chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        mutation = ALL[seed % len(ALL)]
        shutil.copytree(finished_atlas, mutated)
        what = mutation.apply(mutated, chance)
        if not is_noticed(mutated):
            missed.append(f"{seed} {mutation.name}: {what}")
        shutil.rmtree(mutated)
    assert missed == []
