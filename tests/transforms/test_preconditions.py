"""On gs:// a file is replaced in the generation in which it was looked at, or not at all.

The emulator has no preconditions, so a bucket that has some stands in for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from apache_beam.utils import retry

from transforms import filesystems
from transforms.filesystems import BeamStorage

exceptions = pytest.importorskip("google.api_core.exceptions", reason="gcp is not installed")

PATH = "gs://bucket/atlas/maps/block-00000.parquet"


@dataclasses.dataclass
class Bucket:
    """One object, and what happens to it between the look at it and the upload."""

    data: bytes | None = None
    generation: int = 0
    meanwhile: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    bucket: Any = None
    name: str = "atlas/maps/block-00000.parquet"

    def __post_init__(self) -> None:
        self.bucket = self

    def get_blob(self, name: str) -> Bucket | None:
        assert name == self.name
        return None if self.data is None else dataclasses.replace(self)

    def upload_from_string(self, data: bytes, _: str, *, if_generation_match: int) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if if_generation_match != self.generation:
            raise exceptions.PreconditionFailed("conditionNotMet")
        self.data, self.generation = data, self.generation + 1


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(filesystems, "_gcs_blob", lambda _: made)
    monkeypatch.setattr(filesystems, "_check_folder", lambda _: None)
    monkeypatch.setattr(filesystems, "_holds", lambda _, data: made.data == data)
    monkeypatch.setattr(retry.Clock, "sleep", lambda *_: None)
    return made


def write(data: bytes) -> None:
    BeamStorage().replace("gs://bucket/atlas/.temporary/run/x", PATH, data)


def test_a_file_is_made_and_replaced(bucket: Bucket) -> None:
    for number, data in enumerate((b"first", b"second"), 1):
        write(data)
        assert (bucket.data, bucket.generation) == (data, number)


def test_what_comes_after_a_takeover_is_not_written(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops between the look and the upload; then the mark of its folder is gone."""

    def gone(folder: str) -> None:
        raise FileNotFoundError(2, "gone", folder)

    def take_over() -> None:
        bucket.data, bucket.generation = b"the other's", 7
        monkeypatch.setattr(filesystems, "_check_folder", gone)

    bucket.meanwhile.append(take_over)
    with pytest.raises(FileNotFoundError, match=r"atlas/\.temporary/run"):
        write(b"stale")
    assert bucket.data == b"the other's"


def test_who_finds_it_changed_and_is_still_the_one_writes_again(bucket: Bucket) -> None:
    def change() -> None:
        bucket.data, bucket.generation = b"stale", 3

    bucket.meanwhile.append(change)
    write(b"right")
    assert (bucket.data, bucket.generation) == (b"right", 4)


def test_an_upload_whose_answer_was_lost_is_done(bucket: Bucket) -> None:
    def arrive() -> None:
        bucket.data, bucket.generation = b"data", 1

    bucket.meanwhile.append(arrive)
    write(b"data")
    assert (bucket.data, bucket.generation) == (b"data", 1)
