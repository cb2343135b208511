"""What an audit came to: the content of `audit.json`, whose schema this is."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from pipeline.audit.part import Part
from pipeline.audit.shortcuts.shortcut import Proposal, ReferenceClasses, Shortcut
from transforms.formats.sample import DrawnSample, sample_in_words

AUDIT_FORMAT: Literal[1] = 1
"""Of `audit.json`; another one whenever a reader of this one would misread it."""

Verdict = Literal["pass", "fail", "undecided"]
Severity = Literal["fail", "warn"]
Status = Literal["new", "known", "resolved"]
Identity = tuple[str, int | None, str | None, str | None]
"""Of a comparison: its gate, class, slice and the slice's value."""


class Threshold(Part):
    """Where the figure has to lie: above `low`, below `high`; null where it may go on for ever.

    Attributes:
      low: The figure has to be above it.
      high: The figure has to be below it.
      of: What is judged: the statistic's `value`, or its `change` from the baseline.
    """

    low: float | None
    high: float | None
    of: Literal["value", "change"]


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """One class, or a part of one, held against one gate; an audit may have 200,000 of them.

    Attributes:
      gate: The gate's name.
      statistic: A column of the classes table, or a figure of the audit's own such as `drift`.
      class_number: The class explained; None of figures of the whole atlas.
      class_name: Its name; None where the atlas has none.
      slice: The slice's name; None for the whole class.
      slice_value: The slice's value, which may be None itself.
      n: Examples that the figure is made of.
      value: The statistic, or the drift from the baseline; None where it is undefined.
      change: The statistic less the baseline's; None where the threshold is not of the change.
      low: The lower end of the interval around what the threshold is of; None where there is none.
      high: The upper end.
      baseline_n: Examples of the baseline; None where no baseline is needed.
      baseline_value: The statistic in the baseline; None where there is none, or for drift.
      paired: Whether the two are about the same examples; None where no baseline is needed.
      threshold: Where the figure has to lie.
      verdict: `pass` and `fail` where the whole interval is on one side, else `undecided`.
      severity: Whether a failure fails the audit, or only warns.
      waived_until: The last day, as YYYY-MM-DD, of a waiver of this failure; None where there is
        none, or none any more.
      reason: The waiver's, also of one that has expired; None where there is none.
      status: Against the previous audit: `new` and `known` of failures, and `known` too of an
        undecided one that failed; `resolved` of what failed and passes; None of all else.
      note: Why it is undecided, or that a waiver has expired; None where all is said.
      examples: Ids of the examples that weigh most in a failure, the heaviest first.
    """

    gate: str
    statistic: str
    class_number: Annotated[int | None, Field(alias="class")]
    class_name: str | None
    slice: str | None
    slice_value: str | None
    n: int
    value: float | None
    change: float | None
    low: float | None
    high: float | None
    baseline_n: int | None
    baseline_value: float | None
    paired: bool | None
    threshold: Threshold
    verdict: Verdict
    severity: Severity
    waived_until: str | None
    reason: str | None
    status: Status | None
    note: str | None
    examples: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        """What is compared, the same in every audit with these gates."""
        return self.gate, self.class_number, self.slice, self.slice_value

    @property
    def is_open(self) -> bool:
        """Whether it failed, or has been undecided since it failed."""
        return self.verdict == "fail" or self.status == "known"

    @property
    def counts_as_failure(self) -> bool:
        """Whether it fails the audit: no warning, and not waived."""
        return self.verdict == "fail" and self.severity == "fail" and self.waived_until is None


class SampleSize(Part):
    """How much of its data an atlas explains: the examples whose ids have the smallest hashes.

    Attributes:
      size: How many examples were asked for (`source.sample`).
      examples: How many the data has; all of them are explained where they are no more.
    """

    size: int
    examples: int

    @classmethod
    def of(cls, drawn: DrawnSample | None) -> SampleSize | None:
        """That of an atlas; None where all examples were asked for."""
        return None if drawn is None else cls(size=drawn.size, examples=drawn.examples)

    def __str__(self) -> str:
        """In words.

        >>> str(SampleSize(size=100, examples=4000))
        '100 of 4,000 examples, those whose ids have the smallest hashes'
        """
        return sample_in_words(self.size, self.examples)


class AuditResult(Part):
    """All of an audit.

    Attributes:
      format: `AUDIT_FORMAT`.
      verdict: `fail` where a failure counts; else `undecided` where a gate that may fail the audit
        is undecided and `audit.undecided` is not `fail`; else `pass`.
      atlas: The atlas's folder, as `storage.to_text` writes it.
      atlas_fingerprint: Of its settings.
      baseline: The folder of the atlas that it is compared with, or None.
      baseline_fingerprint: Of its settings.
      sample: How much of its data the atlas explains; None where it is all.
      baseline_sample: The same of the baseline.
      made: When, in ISO 8601, UTC.
      previous: When the previous audit in the same folder was made; None where there is none.
      min_n: Fewer examples are undecided.
      confidence: Of all intervals of one gate together.
      undecided: What an undecided gate does to the audit.
      gates: Each comparison, by gate in the configuration's order, then slice value and class.
      shortcuts: What needs a look, by class.
      proposals: What does not stand out and was looked into with the model, by class; None where
        the model was not asked.
      reference: What candidates are ranked among; None where `audit.reference` names no atlas.
    """

    format: Literal[1] = AUDIT_FORMAT
    verdict: Verdict
    atlas: str
    atlas_fingerprint: str
    baseline: str | None
    baseline_fingerprint: str | None
    made: str
    previous: str | None
    min_n: int
    confidence: float
    undecided: Severity
    gates: list[Comparison]
    shortcuts: list[Shortcut] = Field(default_factory=list)
    proposals: list[Proposal] | None = None
    reference: ReferenceClasses | None = None
    sample: SampleSize | None = None
    baseline_sample: SampleSize | None = None

    def to_json(self) -> bytes:
        """The file: a line per comparison, so that two audits can be compared line by line."""
        head = self.model_copy(update={"gates": []}).model_dump_json(by_alias=True, indent=2)
        before, here, after = head.partition('"gates": []')
        if not self.gates:
            return f"{head}\n".encode()
        to_json = pydantic.TypeAdapter(Comparison).serializer.to_json
        lines = b",\n    ".join(to_json(each, by_alias=True) for each in self.gates)
        begin, end = here.removesuffix("]").encode(), f"\n  ]{after}\n".encode()
        return b"".join((before.encode(), begin, b"\n    ", lines, end))

    @classmethod
    def from_json(cls, data: bytes | str) -> AuditResult:
        """Takes back what `to_json` gives.

        Raises:
          pydantic.ValidationError: It is none.
        """
        return cls.model_validate_json(data)


@dataclasses.dataclass(frozen=True)
class PreviousAudit:
    """What an audit has to know of the one before it.

    Attributes:
      made: When it was made.
      open_failures: What failed, or has been undecided since it failed.
    """

    made: str
    open_failures: frozenset[Identity]

    @classmethod
    def of(cls, result: AuditResult) -> PreviousAudit:
        """That of an audit."""
        return cls(result.made, frozenset(each.identity for each in result.gates if each.is_open))

    @classmethod
    def from_json(cls, data: bytes) -> PreviousAudit:
        """That of `audit.json`, of which it reads a third in a third of the time.

        Raises:
          pydantic.ValidationError: It is none.
        """
        audit = _Audit.model_validate_json(data)
        return cls(
            audit.made,
            frozenset(
                (each.gate, each.class_number, each.slice, each.slice_value)
                for each in audit.gates
                if each.verdict == "fail" or each.status == "known"
            ),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Judged:
    """Of a comparison, what says whether it is open."""

    gate: str
    class_number: Annotated[int | None, Field(alias="class")]
    slice: str | None
    slice_value: str | None
    verdict: Verdict
    status: Status | None


class _Audit(Part):
    """Of an audit, what the next one has to know."""

    format: Literal[1]
    made: str
    gates: list[_Judged]
