"""What blocks account for of their input file."""

from __future__ import annotations

from collections.abc import Iterable

from transforms.elements import Block
from transforms.extents import ShardAccount


def account_of(blocks: Iterable[Block]) -> ShardAccount:
    """The sum over a file's blocks, as a run adds it up."""
    account = ShardAccount()
    for block in blocks:
        extent = block.extent(block.failures)
        assert extent is not None
        account = account.merge(ShardAccount.of(block.key.records, extent))
    return account
