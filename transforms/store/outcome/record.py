"""What an atlas's blocks add up to beside their statistics: counts, accounts, failures, ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.elements import CommittedBlock, ImageWarning, Shard
from transforms.extents import ShardAccount
from transforms.ids import id_hashes
from transforms.store.outcome.counts import RunCounts
from transforms.store.tables import FAILURES_SCHEMA, failures_table

MOST_IDS = 1 << 24
"""Ids of more examples are not compared with each other: eight bytes each are held for it."""

MOST_WARNINGS = 10
"""Warnings of images are held, and listed in the manifest, up to so many; all are counted."""

_REPEATED = ("shard", "stage", "error", "message")  # columns of which each value is held once


class AtlasRecord:
    """Sums over committed blocks: a monoid, exact and the same in any order.

    Memory: some hundred bytes per input file, some tens per failure, eight per id that was given;
    ten warnings of images.

    Args:
      with_ids: Whether ids were given, so that two examples may have the same.

    Attributes:
      counts: Of records, maps, blocks and bytes.
      accounts: What the blocks account for of each input file, by its path.
      warnings: The first warnings of images, by path and record.
    """

    def __init__(self, with_ids: bool) -> None:
        self.counts = RunCounts()
        self.accounts: dict[str, ShardAccount] = {}
        self.warnings: list[tuple[str, ImageWarning]] = []
        self._failures: list[pa.Table] = []
        self._with_ids = with_ids
        self._ids: list[npt.NDArray[np.uint64]] = []
        self._ids_held = 0

    def add(self, block: CommittedBlock) -> None:
        """Adds a block."""
        self.counts = self.counts.merge(RunCounts.of(block))
        if block.extent is not None:
            self._account(block.key.shard.path, ShardAccount.of(block.key.records, block.extent))
        if block.failures:
            self._failures.append(_compact(failures_table(block.failures)))
        path = block.key.shard.path
        self._warn((path, warning) for warning in block.warnings[:MOST_WARNINGS])
        if self._with_ids:
            self._hold(_id_hashes(block.summary))

    def merge(self, other: AtlasRecord) -> None:
        """Adds another record of the same atlas."""
        self.counts = self.counts.merge(other.counts)
        for path, account in other.accounts.items():
            self._account(path, account)
        self._failures += other._failures
        self._warn(other.warnings)
        for hashes in other._ids:
            self._hold(hashes)
        self._ids_held = max(self._ids_held, other._ids_held)

    def failures(self) -> pa.Table:
        """All failures, by shard and record whatever order they came in."""
        if not self._failures:
            return FAILURES_SCHEMA.empty_table()
        joined = pa.concat_tables(self._failures).unify_dictionaries()
        plain = pa.Table.from_arrays(
            [pc.cast(joined[field.name], field.type) for field in FAILURES_SCHEMA],
            schema=FAILURES_SCHEMA,
        )
        keys = plain.set_column(1, "record", pc.fill_null(plain["record"], -1))
        keys = keys.set_column(2, "example_id", pc.fill_null(plain["example_id"], ""))
        return plain.take(
            pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
        )

    def duplicate_ids(self) -> int | None:
        """How many examples have an id that another one before them has.

        Returns:
          0 where no ids were given; None where there are more than are compared.
        """
        if self._ids_held > MOST_IDS:
            return None
        hashes = np.concatenate(self._ids) if self._ids else np.zeros(0, np.uint64)
        return len(hashes) - len(np.unique(hashes))

    @property
    def unreadable_records_estimated(self) -> int:
        """How many records the places that cannot be read may have held."""
        return sum(account.estimated_records for account in self.accounts.values())

    @property
    def failed_fraction(self) -> float:
        """Failed records as a share of all, 0..1; those that cannot be read count as estimated.

        A record that a sample leaves out counts as the examples in it do: of those that have an id,
        the same share is taken to fail.
        """
        counts = self.counts
        gaps = sum(account.gaps for account in self.accounts.values())
        more = self.unreadable_records_estimated - gaps  # each gap is a failed record already
        records = counts.records_read + more
        failed = counts.failed_records + more
        if counts.left_out_records:
            named = counts.failed_records - counts.nameless_failures
            sampled = named + counts.explained_examples
            of_left_out = named / sampled if sampled else 0.0
            return (failed + of_left_out * counts.left_out_records) / records
        return failed / records if records else 0.0

    @property
    def broken_files(self) -> Mapping[str, str]:
        """Why an input file is no whole one, by its path, in order."""
        return {
            path: account.end.broken
            for path, account in sorted(self.accounts.items())
            if account.end is not None and account.end.broken is not None
        }

    def imbalances(self, shards: tuple[Shard, ...]) -> Iterator[str]:
        """Input files whose blocks do not account for all of them, a clause each."""
        for shard in shards:
            account = self.accounts.get(shard.path)
            why = "no block accounts for it" if account is None else account.imbalance
            if why is not None:
                yield f"{shard.path}: {why}"

    def _account(self, path: str, account: ShardAccount) -> None:
        known = self.accounts.get(path)
        self.accounts[path] = account if known is None else known.merge(account)

    def _warn(self, warnings: Iterable[tuple[str, ImageWarning]]) -> None:
        self.warnings = sorted([*self.warnings, *warnings])[:MOST_WARNINGS]

    def _hold(self, hashes: npt.NDArray[np.uint64]) -> None:
        self._ids_held += len(hashes)
        if self._ids_held > MOST_IDS:
            self._ids.clear()
        else:
            self._ids.append(hashes)


def _compact(failures: pa.Table) -> pa.Table:
    """The same rows, with values that many of them share held once."""
    for name in _REPEATED:
        index = failures.schema.get_field_index(name)
        failures = failures.set_column(index, name, failures[name].dictionary_encode())
    return failures


def _id_hashes(summary: pa.Table) -> npt.NDArray[np.uint64]:
    """64 bits of each example's id; of an example with several maps once."""
    records = summary["record"].to_numpy()
    first = np.flatnonzero(np.diff(records, prepend=-1))
    return id_hashes(summary["example_id"].take(pa.array(first)).to_pylist())
