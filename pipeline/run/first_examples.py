"""The first examples of a dataset: what a run is tried on before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.elements import Block, BlockKey, Examples, Shard
from transforms.errors import ConfigurationError
from transforms.formats.reader import probe
from transforms.formats.source import InputSpec, SourceSpec
from transforms.saliency.block import BlockExplainer
from transforms.storage import Storage

_PROBED_SHARDS = 8  # Shards looked into for a first example, before a dataset counts as empty.


def first_examples(
    shards: Sequence[Shard], source: SourceSpec, inputs: InputSpec, storage: Storage, count: int
) -> tuple[Shard, Examples] | None:
    """The first examples there are, at most `count`, and where.

    Returns:
      None if the first files hold none.

    Raises:
      ConfigurationError: The first files have records, but none makes an example.
    """
    refusal: ConfigurationError | None = None
    for shard in shards[:_PROBED_SHARDS]:
        try:
            examples = probe(shard, source, inputs, storage, count)
        except ConfigurationError as error:
            # One damaged file among good ones is a matter of failure rows, not of the settings.
            refusal = refusal or error
            continue
        if len(examples):
            return shard, examples
    if refusal is not None:
        raise refusal
    return None


def try_examples(
    first: tuple[Shard, Examples] | None, explainer: BlockExplainer, shards: int
) -> tuple[int, list[str]]:
    """Explains the first examples, so that what concerns all of them is seen now.

    Returns:
      How many were explained, and what to warn of.
    """
    if first is None:
        return 0, [f"no example in the first {min(shards, _PROBED_SHARDS)} files"]
    shard, examples = first
    explained = explainer.explain(Block(BlockKey(shard, 0, 0, len(examples), last=False), examples))
    if explained.examples:
        return explained.examples, []
    failure = explained.failures[0]
    return 0, [
        f"none of the first {len(examples)} examples of {shard.path} can be explained: "
        f"{failure.error}: {failure.message}"
    ]
