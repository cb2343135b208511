"""The files that a user's glob means: all of them, or an error that names what is in the way.

A glob that skips what it cannot use loses data in silence. So whatever a pattern matches has to be
a regular file, directly or by a link.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import posixpath
import re
import stat
from collections.abc import Iterator

from transforms.errors import ConfigurationError

Found = tuple[str, os.stat_result]

_EVERYTHING = ("*", "**")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def alternatives(pattern: str) -> list[str]:
    """The patterns, with `**` as whole folders only, that together mean the same.

    >>> alternatives("in/**/*.tfrecord"), alternatives("in/a**z")
    (['in/**/*.tfrecord'], ['in/a*z', 'in/a*/**/*z'])
    """
    parts = pattern.split("/")
    for place, part in enumerate(parts):
        if "**" in part and part != "**":
            begins, ends = part.split("**", 1)
            ends = ends.lstrip("*")
            middles = ([f"{begins}*{ends}"], [f"{begins}*", "**", f"*{ends}"])
            before, after = parts[:place], parts[place + 1 :]
            return [
                simpler
                for middle in middles
                for simpler in alternatives("/".join([*before, *middle, *after]))
            ]
    return [pattern]


def with_no_folders(pattern: str) -> list[str]:
    """The patterns that together mean the same where `**` stands for one folder or more.

    >>> with_no_folders("gs://b/**/a")
    ['gs://b/a', 'gs://b/**/a']
    """
    head, found, tail = pattern.partition("/**/")
    if not found:
        return [pattern]
    return [f"{head}{between}{rest}" for between in ("/", found) for rest in with_no_folders(tail)]


def matches(pattern: str, path: str) -> bool:
    """Whether a glob would match a path, if that were there.

    >>> matches("in/**/*.parquet", "in/a/b.parquet"), matches("in/*.parquet", "in/a/b.parquet")
    (True, False)
    """
    names = path.split("/")
    return any(_match_parts(each.split("/"), names) for each in alternatives(pattern))


def _match_parts(parts: list[str], names: list[str]) -> bool:
    if not parts or not names:
        return parts in (names, ["**"])
    if parts[0] == "**":
        return _match_parts(parts[1:], names) or _match_parts(parts, names[1:])
    return fnmatch.fnmatchcase(names[0], parts[0]) and _match_parts(parts[1:], names[1:])


def is_hidden(pattern: str, path: str) -> bool:
    """Whether a name has a leading dot where a pattern has wildcards, and the pattern has none.

    >>> is_hidden("gs://b/.in/*", "gs://b/.in/.x"), is_hidden("gs://b/.in/.*", "gs://b/.in/.x")
    (True, False)
    """
    fixed = len(re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0])
    return "/." in path[fixed:] and "/." not in pattern[fixed:]


def refusal(pattern: str, path: str, what: str) -> ConfigurationError:
    """What is said of something that a pattern matches and that cannot be read as a file."""
    return ConfigurationError(
        f"{pattern} matches {path}, which is {what}: give a pattern that matches regular files "
        "alone, or move it away"
    )


def list_files(pattern: str) -> list[Found]:
    """The local files that a glob means, sorted, each with its status.

    Args:
      pattern: An absolute path with `*`, `?`, `[...]` within a name and `**` for any folders, none
        included. Names with a leading dot need one in the pattern.

    Raises:
      ConfigurationError: It matches something that is no regular file, or a folder on the way
        cannot be read.
    """
    found: dict[str, os.stat_result] = {}
    for each in alternatives(pattern):
        *_, last = each.split("/")
        below = "**" in each.split("/") and last in _EVERYTHING  # then folders are on the way
        for path in _walk(_root(each), each.split("/"), pattern):
            status = _status(path, pattern)
            if below and stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                what = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
                raise refusal(pattern, path, what)
            found[path] = status
    return sorted(found.items())


def _root(pattern: str) -> str:
    return "/" if pattern.startswith("/") else ""


def _walk(
    base: str, parts: list[str], pattern: str, inside: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """Paths below a folder that match; `inside` are the folders that `**` has come through."""
    parts = [part for part in parts if part]
    if not parts:
        yield base
        return
    first, *rest = parts
    if first == "**":
        yield from _walk_across(base, rest, pattern, inside)
    elif re.search(r"[*?[]", first):
        for name in _names(base, pattern):
            path = posixpath.join(base, name)
            if name.startswith(".") and not first.startswith("."):
                continue
            if fnmatch.fnmatchcase(name, first) and (not rest or os.path.isdir(path)):
                yield from _walk(path, rest, pattern, inside)
    else:
        path = posixpath.join(base, first)
        if os.path.isdir(path) if rest else os.path.lexists(path):
            yield from _walk(path, rest, pattern, inside)


def _walk_across(
    base: str, rest: list[str], pattern: str, inside: tuple[tuple[int, int], ...]
) -> Iterator[str]:
    status = os.stat(base or ".")
    identity = (status.st_dev, status.st_ino)
    if identity in inside:  # a link that leads back up: all below is found without it
        return
    yield from _walk(base, rest or ["*"], pattern, inside)
    for name in _names(base, pattern):
        path = posixpath.join(base, name)
        if not name.startswith(".") and os.path.isdir(path):
            yield from _walk(path, ["**", *rest], pattern, (*inside, identity))


def _names(folder: str, pattern: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigurationError(
            f"{pattern} leads through {folder}, which cannot be read ({error.strerror}): make it "
            "readable, or give another pattern"
        ) from error


def _status(path: str, pattern: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refusal(pattern, path, "a link that leads to itself") from error
        if error.errno == errno.ENOENT:
            raise refusal(pattern, path, "a link to nothing") from error
        raise refusal(pattern, path, f"out of reach ({error.strerror})") from error
