"""The system calls by which local files are changed, so that tests can stand between them."""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

_NOT_OFFERED = (errno.EINVAL, errno.ENOTSUP)  # some network file systems sync no folders


class Disk(Protocol):
    """What `LocalStorage` asks of a file system to change it. Errors are `OSError`s."""

    def create(self, path: str) -> int:
        """Opens a file to be written from its beginning, made where it is absent."""

    def write(self, file: int, data: memoryview) -> int:
        """Writes at the file's end; returns how many bytes it took."""

    def sync(self, file: int) -> None:
        """Returns once the file's bytes survive a power cut."""

    def close(self, file: int) -> None:
        """Ends the use of a file."""

    def sync_folder(self, path: str) -> None:
        """Returns once the names in a folder survive a power cut."""

    def rename(self, source: str, target: str) -> None:
        """Gives a file or a folder another name, in place of a file of that name."""

    def make_folder(self, path: str) -> None:
        """Makes one folder."""

    def remove(self, path: str) -> None:
        """Takes a file's or a link's name away."""

    def remove_folder(self, path: str) -> None:
        """Removes a folder that is empty."""

    def names(self, path: str) -> list[str]:
        """What is in a folder."""

    def is_folder(self, path: str) -> bool:
        """Whether it is a folder, and no link to one."""


class SystemDisk:
    """The machine's own disks. Stateless, so it pickles."""

    def create(self, path: str) -> int:
        """Opens for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def write(self, file: int, data: memoryview) -> int:
        """Writes what the system takes at once."""
        return os.write(file, data)

    def sync(self, file: int) -> None:
        """Waits for the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Closes."""
        os.close(file)

    def sync_folder(self, path: str) -> None:
        """Waits for the disk."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
        finally:
            os.close(folder)

    def rename(self, source: str, target: str) -> None:
        """Renames."""
        os.replace(source, target)

    def make_folder(self, path: str) -> None:
        """Makes one folder."""
        os.mkdir(path)

    def remove(self, path: str) -> None:
        """Unlinks."""
        os.unlink(path)

    def remove_folder(self, path: str) -> None:
        """Removes an empty folder."""
        os.rmdir(path)

    def names(self, path: str) -> list[str]:
        """Lists a folder."""
        return os.listdir(path)

    def is_folder(self, path: str) -> bool:
        """Looks, without following a link."""
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False
