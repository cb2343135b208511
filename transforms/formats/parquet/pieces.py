"""Records are read in batches and wanted in blocks: cutting and joining them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transforms.formats.columns import Column, Records


def cut(records: Records, block_size: int) -> Iterator[Records]:
    """Cuts records where a block ends."""
    start = 0
    while start < records.count:
        stop = min(records.count, start + block_size - (records.first + start) % block_size)
        yield Records(
            first=records.first + start,
            count=stop - start,
            columns={role: column[start:stop] for role, column in records.columns.items()},
            faults={
                row - start: fault for row, fault in records.faults.items() if start <= row < stop
            },
            available=records.available,
        )
        start = stop


def join(pieces: Sequence[Records]) -> Records:
    """One of consecutive ones."""
    first = pieces[0].first
    return Records(
        first=first,
        count=sum(piece.count for piece in pieces),
        columns={
            role: Column.concatenate([piece.columns[role] for piece in pieces])
            for role in pieces[0].columns
        },
        faults={
            piece.first - first + row: fault
            for piece in pieces
            for row, fault in piece.faults.items()
        },
        available=pieces[0].available,
    )
