"""The file by which a run says that an atlas is its own, and the look at it before each write."""

from __future__ import annotations

from transforms.errors import RunError
from transforms.storage import Storage, escape, join


def lease_path(root: str, run: str) -> str:
    """The file by which a run says that it is the one that works on an atlas."""
    return join(root, f".lease-{run}.json")


def check_lease(lease: str | None, storage: Storage) -> None:
    """Makes sure that the atlas is still this run's, before something in it is replaced.

    Args:
      lease: The run's `lease_path`; None where nobody holds one.
      storage: Where the atlas is.

    Raises:
      RunError: Another run has taken over.
    """
    if lease is not None and not storage.match(escape(lease)):
        raise RunError(
            f"another run has taken over the atlas, as this one gave no sign of life: {lease} is "
            "gone, and nothing more is written"
        )
