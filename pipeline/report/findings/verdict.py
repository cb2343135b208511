"""The verdict: a sentence or two, made from figures by rules, never vaguer than they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.report import wording
from pipeline.report.findings.finding import Finding
from transforms.formats.sample import DrawnSample


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Attributes:
      state: `pass`, `fail`, `undecided`, or `note` where nothing is judged.
      headline: The sentence.
      because: The one after it; empty where all is said.
      warnings: What limits all else, such as that the atlas is not finished.
    """

    state: str
    headline: Markup
    because: Markup
    warnings: tuple[Markup, ...] = ()


def describing(
    manifest: Mapping[str, Any], classes: int, findings: Sequence[Finding], *, several: bool
) -> Verdict:
    """The verdict of an atlas that no gate judges.

    Args:
      manifest: The atlas's.
      classes: How many have maps.
      findings: Classes that stand out.
      several: Whether there are enough classes to compare them.
    """
    explained = manifest.get("explained_examples", 0)
    if not explained:
        headline = Markup("Nothing has been explained: this page is empty.")
        return Verdict("note", headline, Markup(""), warnings(manifest))
    if findings:
        headline = findings[0].statement
    elif several:
        headline = Markup(
            "No class stands out: in none is corner, border or centre twice as strong as in all "
            "others."
        )
    else:
        headline = Markup("{} explained in {}.").format(
            wording.count(explained, "example"), wording.count(classes, "class", "classes")
        )
    because = Markup("No gates are configured: this page describes, it does not judge.")
    return Verdict("note", headline, because, warnings(manifest))


def warnings(manifest: Mapping[str, Any]) -> tuple[Markup, ...]:
    """What limits everything on the page."""
    found = []
    if manifest["status"] == "incomplete":
        found.append(
            Markup(
                "This atlas is not finished, so the page shows a part of it. Finish it with "
                "<code>saliency-atlas run CONFIG --resume</code>."
            )
        )
    if manifest["status"] == "failed":
        found.append(
            Markup(
                "More records failed than the configuration allows, so the run counts as failed. "
                'See <a href="#failures">the failures</a>.'
            )
        )
    drawn = manifest["settings"].get("source", {}).get("sample_drawn")
    if drawn is not None:
        sample = DrawnSample.from_dict(drawn)
        found.append(Markup("This is a sample of the data: {}.").format(str(sample)))
    return tuple(found)
