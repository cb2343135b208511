"""The power goes at every system call of a commit, of publishing and of overwriting."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from simulated_disk import Cut, RecordingDisk, write_tree
from test_blocks import make_block

from transforms.elements import Shard
from transforms.storage import LocalStorage, join
from transforms.store.blocks import UntrustedBlockError, commit_block, list_blocks, read_committed
from transforms.store.cleaning import delete_atlas, sweep_temporary
from transforms.store.files import replace_file
from transforms.store.layout import MANIFEST, TEMPORARY_FOLDER
from transforms.store.lease_file import run_folder

RUN, LATER = "1" * 32, "2" * 32
SHARD = Shard("/data/a.tfrecord", 10)
BLOCKS = 2


class _WithoutFiles(RecordingDisk):
    """Says that files were synced, and has done nothing."""

    def sync(self, file: int) -> None:
        pass


class _WithoutFolders(RecordingDisk):
    """Says that folders were synced, and has done nothing."""

    def sync_folder(self, path: str) -> None:
        pass


class Atlas:
    """An atlas that is made, finished, and made anew, with what had returned at which call."""

    def __init__(self, root: Path, disk: RecordingDisk) -> None:
        self.root, self.disk = str(root), disk
        self.storage = LocalStorage(disk)
        self.promised: list[tuple[int, frozenset[str], bytes | None]] = [(0, frozenset(), None)]
        blocks: frozenset[str] = frozenset()
        for run, word in ((RUN, b"first"), (LATER, b"second")):
            self.storage.make_folder(run_folder(self.root, run))
            if run == LATER:
                self.promise(frozenset(), None)  # from here on nothing of the first need be there
                delete_atlas(self.root, self.storage, run)
                sweep_temporary(self.root, self.storage, run)
                blocks = frozenset()
            replace_file(self.root, MANIFEST, b"incomplete", self.storage, run)
            self.promise(blocks, b"incomplete")
            for number in range(BLOCKS):
                block = make_block(SHARD, number, rows=1 + (run == LATER))
                commit_block(self.root, block, word.decode(), self.storage, run)
                blocks |= {f"block-{number:05d}.parquet"}
                self.promise(blocks, b"incomplete")
            replace_file(self.root, MANIFEST, word, self.storage, run)
            self.promise(blocks, word)

    def promise(self, blocks: frozenset[str], manifest: bytes | None) -> None:
        """What was said to be there after so many calls."""
        self.promised.append((len(self.disk.record), blocks, manifest))

    def promised_after(self, calls: int) -> tuple[frozenset[str], bytes | None]:
        """What has to be there after so many calls."""
        _, blocks, manifest = [each for each in self.promised if each[0] <= calls][-1]
        return blocks, manifest


def problems_after(atlas: Atlas, calls: int, folder: Path) -> tuple[int, list[str]]:
    """How many states a cut may leave, and what is wrong with them, read by the project's code."""
    found: list[str] = []
    states = 0
    promised, manifest = atlas.promised_after(calls)
    cut = Cut(atlas.disk.record[:calls], atlas.root, join(atlas.root, TEMPORARY_FOLDER))
    for tree in cut.states():
        states += 1
        write_tree(tree, atlas.root, folder)
        text = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).exists() else None
        blocks, unreadable = _words_of_blocks(folder)
        found += unreadable
        if text not in {None, b"incomplete", b"first", b"second"}:
            found.append(f"the manifest is {text!r}")
        if manifest is not None and text is None:
            found.append("the manifest is gone")
        if manifest == b"second" and text != manifest:
            found.append(f"the manifest is still {text!r}")
        if not promised <= blocks.keys():
            found.append(f"{promised - blocks.keys()} are gone")
        if text in {b"first", b"second"} and list(blocks.values()) != [text] * BLOCKS:
            found.append(f"the atlas of {text!r} has the blocks {blocks}")
        shutil.rmtree(folder)
    return states, [f"after {calls} calls: {each}" for each in found]


def _words_of_blocks(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """By which fingerprint each block can be read back, and what cannot be read at all."""
    words, wrong = {}, []
    for file in list_blocks(str(folder), SHARD, LocalStorage()):
        for word in ("first", "second"):
            try:
                read_committed(file, SHARD, word, LocalStorage())
                words[Path(file.path).name] = word.encode()
            except UntrustedBlockError as error:
                if "its fingerprint is" not in str(error):
                    wrong.append(str(error))
    return words, wrong


def all_problems(disk: RecordingDisk, folder: Path) -> tuple[int, int, list[str]]:
    """Calls, states and what is wrong, over all of an atlas's life."""
    root = folder / "atlas"
    root.mkdir()
    atlas = Atlas(root, disk)
    states, found = 0, list[str]()
    for calls in range(len(disk.record) + 1):
        seen, wrong = problems_after(atlas, calls, folder / "cut")
        states, found = states + seen, found + wrong
    return len(disk.record), states, found


def test_after_a_power_cut_at_any_call_an_atlas_is_whole_or_unfinished(tmp_path: Path) -> None:
    calls, states, found = all_problems(RecordingDisk(), tmp_path)
    assert found == []
    assert calls > 70
    assert states > 100


@pytest.mark.parametrize(
    ("disk", "saying"), [(_WithoutFiles, "is damaged"), (_WithoutFolders, "are gone")]
)
def test_without_syncing_a_power_cut_is_found_to_do_harm(
    disk: type[RecordingDisk], saying: str, tmp_path: Path
) -> None:
    (tmp_path / "atlas").mkdir()
    atlas = Atlas(tmp_path / "atlas", disk())
    calls = next(calls for calls, blocks, _ in atlas.promised if blocks)
    _, found = problems_after(atlas, calls, tmp_path / "cut")
    assert any(saying in each for each in found)
