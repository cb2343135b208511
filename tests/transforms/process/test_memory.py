from __future__ import annotations

import pathlib

import numpy as np
import psutil
import pytest

from transforms.process import memory


def write(folder: pathlib.Path, **contents: str) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_memory_that_is_touched_is_resident_and_counts_in_the_peak() -> None:
    before = memory.resident_bytes()
    held = np.ones(64 << 20, np.uint8)
    assert memory.resident_bytes() - before >= held.nbytes // 2
    assert memory.peak_bytes() >= before + held.nbytes // 2


@pytest.mark.parametrize("limit", ["max", None])
def test_without_a_container_s_limit_what_the_machine_has_is_free(
    tmp_path: pathlib.Path, limit: str | None
) -> None:
    if limit is not None:
        write(tmp_path, memory__max=limit, memory__current="1", memory__stat="")
    available = psutil.virtual_memory().available
    assert memory.free_bytes(tmp_path) == pytest.approx(available, rel=0.2)


def test_a_container_s_limit_counts_less_what_it_uses_and_cannot_reclaim(
    tmp_path: pathlib.Path,
) -> None:
    write(
        tmp_path,
        memory__max="5000000\n",
        memory__current="4000000\n",
        memory__stat="anon 2500000\ninactive_file 1500000\n",
    )
    assert memory.free_bytes(tmp_path) == 2_500_000


def test_the_first_version_s_limits_count_too(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path / "memory",
        memory__limit_in_bytes="5000000\n",
        memory__usage_in_bytes="5200000\n",
        memory__stat="total_inactive_file 100000\n",
    )
    assert memory.free_bytes(tmp_path) == 0
