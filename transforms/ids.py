"""Hashes of example ids: duplicates are found by them, and samples drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_HASH_BYTES = 8


def id_hashes(ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """(N,) the first 64 bits of BLAKE2b of each id's UTF-8 bytes.

    >>> [f"{each:016x}" for each in id_hashes(["cat-3", "cat-4"])]
    ['5b0ef9438594e846', '65f32fb1e6b99017']
    """
    digests = b"".join(
        hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_HASH_BYTES).digest()
        for name in ids
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)
