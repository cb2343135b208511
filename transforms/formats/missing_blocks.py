"""The blocks of a file that an atlas lacks, read only if the file is still what it was."""

from __future__ import annotations

from collections.abc import Container, Iterator

from transforms.elements import Block, CommittedBlock, Portion
from transforms.errors import RunError
from transforms.formats.reader import read_blocks
from transforms.formats.source import InputSpec, SourceSpec
from transforms.storage import Storage


class DoneBlocks:
    """The blocks of a portion that need not be read."""

    def __init__(self) -> None:
        self._digests: dict[int, str | None] = {}
        self._stop: int | None = None

    def add(self, block: CommittedBlock) -> None:
        """Adds one."""
        self._digests[block.key.number] = block.input_digest
        if block.key.last:
            self._stop = block.key.number + 1

    def are_all_of(self, portion: Portion) -> bool:
        """Whether there are no others in the portion."""
        stop = portion.stop_block if self._stop is None else self._stop
        return stop is not None and self._digests.keys() >= {*range(portion.first_block, stop)}

    def __contains__(self, number: object) -> bool:
        return number in self._digests

    def but(self, number: int | None) -> Container[int]:
        """The numbers of all but one."""
        return self._digests.keys() - {number}

    def digest(self, number: int) -> str | None:
        """Of the examples that a block was made from; None where it is unknown."""
        return self._digests[number]

    def witness(self, portion: Portion) -> int | None:
        """The block before the first that is not done, or the first there is; None for none."""
        known = sorted(number for number, digest in self._digests.items() if digest is not None)
        before = portion.first_block
        while before in self:
            before += 1
        earlier = (number for number in reversed(known) if number < before)
        return next(earlier, next(iter(known), None))


def read_missing_blocks(  # noqa: PLR0917 - as a stage hands them on
    portion: Portion,
    source: SourceSpec,
    input_spec: InputSpec,
    block_size: int,
    storage: Storage,
    done: DoneBlocks,
) -> Iterator[Block]:
    """Yields the blocks of a portion that are not done, as `read_blocks` does.

    A portion of which nothing is missing is not opened. Else one block that is done is read again,
    too: the one before the first that is missing. If its examples are others than those that were
    explained, the file has been changed, and what would be made of the rest would not belong to
    what is there.

    Args:
      portion: Which blocks of which file.
      source: What is in it.
      input_spec: What the model takes.
      block_size: Records of a block, failed ones included.
      storage: Where the file is.
      done: The blocks that are done.

    Raises:
      RunError: The file has been changed, or as `read_blocks` has it.
    """
    if done.are_all_of(portion):
        return
    witness = done.witness(portion)
    for block in read_blocks(portion, source, input_spec, block_size, storage, done.but(witness)):
        if block.key.number != witness:
            yield block
        elif block.examples.digest() != done.digest(witness):
            raise RunError(
                f"{portion.shard.path} has been changed: block {witness} of it has other examples "
                "than were explained; put the file back, or make the atlas anew with --overwrite"
            )
