"""An index that was interrupted leaves nothing that could be taken for an input file."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_files import PLAN, SCHEME, local

from pipeline.commands.index import index
from transforms.elements import Shard
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage
from transforms.formats.tfrecord.index import write_index
from transforms.storage import LocalStorage, Storage


class _PowerCut(BaseException):
    """Ends a process where it stands."""


class _Interrupted(LocalStorage):
    def replace(self, temporary: str, path: str, data: bytes | memoryview) -> None:  # noqa: ARG002
        Path(temporary).write_bytes(data)
        raise _PowerCut

    def delete(self, path: str) -> None:
        """Whoever is dead deletes nothing."""


def test_what_an_interrupted_index_leaves_is_no_input(tmp_path: Path) -> None:
    path = tmp_path / "data.tfrecord"
    path.write_bytes(b"")
    with pytest.raises(_PowerCut):
        write_index(Shard(str(path), 0), _Interrupted())
    assert len([left for left in tmp_path.rglob("*") if left.is_file()]) == 3
    for storage in (LocalStorage(), BeamStorage()):
        for pattern in ("*", "*.tfrecord*", "**/*", "**"):
            found = storage.match_inputs(f"{tmp_path}/{pattern}")
            assert [entry.path for entry in found] == [str(path)]


@pytest.mark.parametrize("scheme", ["", f"{SCHEME}://"])
def test_an_index_leaves_itself_alone(scheme: str, tmp_path: Path) -> None:
    PLAN.reset()
    path = f"{scheme}{tmp_path}/data.tfrecord"
    Path(local(path)).write_bytes(b"")
    storage: Storage = BeamStorage()
    assert index(f"{scheme}{tmp_path}/*", storage)["indexes"] == [f"{path}.idx"]
    assert sorted(left.name for left in tmp_path.iterdir()) == [
        "data.tfrecord",
        "data.tfrecord.idx",
    ]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.tfrecord").mkdir()
    with pytest.raises(ConfigurationError, match=r"matches .*/old\.tfrecord, which is a folder"):
        index(f"{tmp_path}/*.tfrecord", LocalStorage())
