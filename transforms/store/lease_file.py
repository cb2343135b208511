"""What a run has in an atlas beside its results: a lease that says so, a folder to write by.

All that a run writes comes out of its own folder by renames. The folder is made once, before
anything else; whoever takes the atlas over deletes it, and nothing of that run arrives any more.
"""

from __future__ import annotations

from transforms.errors import RunError
from transforms.storage import Storage, escape, join
from transforms.store.layout import TEMPORARY_FOLDER


def lease_path(root: str, run: str) -> str:
    """The file by which a run says that it is the one that works on an atlas."""
    return join(root, f".lease-{run}.json")


def run_folder(root: str, run: str) -> str:
    """The folder of a run's temporary files."""
    return join(root, TEMPORARY_FOLDER, run)


def check_lease(lease: str | None, storage: Storage) -> None:
    """Makes sure that the atlas is still this run's, before something in it is replaced.

    Args:
      lease: The run's `lease_path`; None where nobody holds one.
      storage: Where the atlas is.

    Raises:
      RunError: Another run has taken over.
    """
    if lease is not None and not storage.match(escape(lease)):
        raise taken_over(lease)


def taken_over(gone: str) -> RunError:
    """What a run says that finds its lease or its folder deleted."""
    return RunError(
        "another run has taken over the atlas, as this one gave no sign of life, or it was "
        f"deleted: {gone} is gone, and nothing more is written"
    )
