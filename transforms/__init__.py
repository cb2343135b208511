"""Saliency Atlas as a library: stages for Beam pipelines, and explanations without an atlas.

What stands in `__all__` is the public surface; all else in this package may change. Importing it
imports nothing heavy: each name brings what it needs when it is first used.

    from transforms import ExplainExamples, InputSpec, explain_spec

| names | what they are |
| --- | --- |
| `ReadBlocks`, `Committed`, `ExplainBlocks`, `WriteBlocks`, `AggregateStatistics`, `PublishAtlas` | the stages of a run, as Beam transforms |
| `AggregateByClass` | statistics of classes, in graphs of your own |
| `ExplainExamples`, `SaliencyModelHandler` | explanations of examples of your own, in Beam |
| `Example`, `Explanation` | what these take and give |
| `Saliency`, `GradientInput`, `IntegratedGradients`, `SmoothGrad`, `SquareGrad`, `VarGrad`, `GradCAM`, `GradCAMPP`, `Occlusion`, `Rise` | maps of arrays and datasets in memory, a class per method |
| `SourceSpec`, `Features`, `InputSpec`, `ChannelScale` | what is in the input files, and what the model takes |
| `ExplainSpec`, `explain_spec` | what an explanation is: model, target, operator, codec |
| `Shard`, `Portion`, `Block`, `BlockKey`, `Examples`, `ExplainedBlock`, `CommittedBlock`, `Failure` | what flows between the stages |
| `ConfigurationError`, `RunError` | what is raised |

Below this page the folder has stages (verbs, which import Beam and never each other) and libraries
(nouns, which import neither Beam nor stages); README.md draws the map.
"""  # noqa: E501 - a table's rows

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__all__ = [
    "AggregateByClass",
    "AggregateStatistics",
    "Block",
    "BlockKey",
    "ChannelScale",
    "Committed",
    "CommittedBlock",
    "ConfigurationError",
    "Example",
    "Examples",
    "ExplainBlocks",
    "ExplainExamples",
    "ExplainSpec",
    "ExplainedBlock",
    "Explanation",
    "Failure",
    "Features",
    "GradCAM",
    "GradCAMPP",
    "GradientInput",
    "InputSpec",
    "IntegratedGradients",
    "Occlusion",
    "Portion",
    "PublishAtlas",
    "ReadBlocks",
    "Rise",
    "RunError",
    "Saliency",
    "SaliencyModelHandler",
    "Shard",
    "SmoothGrad",
    "SourceSpec",
    "SquareGrad",
    "VarGrad",
    "WriteBlocks",
    "explain_spec",
]

if TYPE_CHECKING:
    from transforms.elements import (
        Block,
        BlockKey,
        CommittedBlock,
        Examples,
        ExplainedBlock,
        Failure,
        Portion,
        Shard,
    )
    from transforms.errors import ConfigurationError, RunError
    from transforms.formats.features import Features
    from transforms.formats.source import ChannelScale, InputSpec, SourceSpec
    from transforms.saliency.block import ExplainSpec
    from transforms.saliency.examples import Example, Explanation, explain_spec
    from transforms.saliency.explainers.by_gradients import (
        GradientInput,
        IntegratedGradients,
        Saliency,
        SmoothGrad,
        SquareGrad,
        VarGrad,
    )
    from transforms.saliency.explainers.by_layers import GradCAM, GradCAMPP
    from transforms.saliency.explainers.by_scores import Occlusion, Rise
    from transforms.stages.aggregate import AggregateByClass, AggregateStatistics
    from transforms.stages.explain import ExplainBlocks, ExplainExamples
    from transforms.stages.inference import SaliencyModelHandler
    from transforms.stages.publish import PublishAtlas
    from transforms.stages.read import Committed, ReadBlocks
    from transforms.stages.write import WriteBlocks
else:  # Where a type checker saw it, it would take every name for one of ours.
    _MODULES = {
        "elements": (
            *("Block", "BlockKey", "CommittedBlock", "Examples", "ExplainedBlock"),
            *("Failure", "Portion", "Shard"),
        ),
        "errors": ("ConfigurationError", "RunError"),
        "formats.features": ("Features",),
        "formats.source": ("ChannelScale", "InputSpec", "SourceSpec"),
        "saliency.block": ("ExplainSpec",),
        "saliency.examples": ("Example", "Explanation", "explain_spec"),
        "saliency.explainers.by_gradients": (
            *("GradientInput", "IntegratedGradients", "Saliency"),
            *("SmoothGrad", "SquareGrad", "VarGrad"),
        ),
        "saliency.explainers.by_layers": ("GradCAM", "GradCAMPP"),
        "saliency.explainers.by_scores": ("Occlusion", "Rise"),
        "stages.aggregate": ("AggregateByClass", "AggregateStatistics"),
        "stages.explain": ("ExplainBlocks", "ExplainExamples"),
        "stages.inference": ("SaliencyModelHandler",),
        "stages.publish": ("PublishAtlas",),
        "stages.read": ("Committed", "ReadBlocks"),
        "stages.write": ("WriteBlocks",),
    }
    _HOMES = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
