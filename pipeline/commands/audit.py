"""Judges an atlas by the gates of a configuration, and writes what machines and people act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.atlas import Atlas
from pipeline.audit.audit import audit
from pipeline.audit.files.folder import read_previous, write_audit
from pipeline.audit.files.markdown import (
    proposals_sentence,
    reference_sentence,
    sample_sentences,
    verdict_sentence,
)
from pipeline.audit.files.words import sentence
from pipeline.audit.result import AuditResult
from pipeline.audit.shortcuts.gate import class_title, describe
from pipeline.audit.shortcuts.trying import Experiments
from pipeline.commands.console import print_line
from pipeline.config.audit_section import AuditSection
from transforms.errors import ConfigurationError
from transforms.storage import Storage

_SHOWN_COMPARISONS = 40
_VERDICT_STYLES = {"pass": "green", "fail": "bold red", "undecided": "yellow"}


def audit_atlas(
    atlas_path: str,
    section: AuditSection | None,
    baseline_path: str | None,
    output: str | None,
    storage: Storage,
    *,
    confirms: bool = False,
) -> AuditResult:
    """Judges an atlas and writes the results' folder.

    Args:
      atlas_path: The atlas.
      section: By what; None for what the configuration of the atlas's run says.
      baseline_path: The atlas to compare with, or None.
      output: The folder to write; None for `audit` in the atlas.
      storage: Where the folder is, and with `confirms` the model and the inputs.
      confirms: Try candidates for shortcuts on the model.

    Raises:
      ConfigurationError: Nothing can be judged so; nothing was written.
      RunError: An atlas is not whole, or the results cannot be written.
    """
    atlas = Atlas.open(atlas_path)
    if section is None:
        section = _recorded_section(atlas.manifest["config"])
    folder = storage.absolute(output or f"{atlas_path}/audit")
    result = audit(
        atlas,
        section,
        baseline=None if baseline_path is None else Atlas.open(baseline_path),
        previous=read_previous(folder, storage),
        reference=_references(section, atlas_path, storage),
        experiments=_confirmer(atlas, section, storage) if confirms else None,
    )
    write_audit(folder, result, storage)
    return result


def _confirmer(atlas: Atlas, section: AuditSection, storage: Storage) -> Experiments:
    from pipeline.confirm.confirm import Confirmer

    return Confirmer(atlas, storage, section.min_effect, section.confidence)


def _references(section: AuditSection, atlas_path: str, storage: Storage) -> list[Atlas]:
    """The atlases of `audit.reference`, each of them once, and none the one that is audited."""
    found: dict[str, Atlas] = {}
    for path in section.reference:
        absolute = storage.absolute(path)
        if absolute == storage.absolute(atlas_path):
            raise ConfigurationError(
                f"audit.reference: {path} is the atlas itself, whose classes cannot be their own "
                "reference: leave it out"
            )
        if absolute in found:
            raise ConfigurationError(
                f"audit.reference names {path!r} twice: its classes count once, leave it out"
            )
        found[absolute] = Atlas.open(path)
    return list(found.values())


def _recorded_section(config: Mapping[str, Any]) -> AuditSection:
    """What the configuration of the atlas's run says of audits; its defaults where nothing."""
    return AuditSection.model_validate(config.get("audit", {}))


def print_audit(result: AuditResult) -> None:
    """Prints an audit's verdict, its gates, and what needs a look."""
    print_line(
        f"{result.verdict}: {verdict_sentence(result)}", style=_VERDICT_STYLES[result.verdict]
    )
    for said in sample_sentences(result):
        print_line(said)
    looked_at = [each for each in result.gates if each.verdict != "pass"]
    for each in looked_at[:_SHOWN_COMPARISONS]:
        remark = f" (waived until {each.waived_until})" if each.waived_until else ""
        if each.verdict == "fail" and each.severity == "warn":
            remark += " (only warns)"
        status = f" [{each.status}]" if each.status else ""
        print_line(f"{each.verdict}{status}: {each.gate}: {sentence(each)}{remark}")
    if len(looked_at) > _SHOWN_COMPARISONS:
        print_line(f"... {len(looked_at) - _SHOWN_COMPARISONS:,} more in audit.json")
    for shortcut in result.shortcuts[:_SHOWN_COMPARISONS]:
        print_line(f"shortcut: {class_title(shortcut)}: {describe(shortcut)}")
    if len(result.shortcuts) > _SHOWN_COMPARISONS:
        print_line(f"... {len(result.shortcuts) - _SHOWN_COMPARISONS:,} more in audit.json")
    for sentence_of in (proposals_sentence, reference_sentence):
        if (told := sentence_of(result)) is not None:
            print_line(told)
