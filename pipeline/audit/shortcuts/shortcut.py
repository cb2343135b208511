"""A shortcut as `audit.json` has it: what was found of a class, and what experiments made of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipeline.audit.part import Part


class MaskEffect(Part):
    """What masking a place does to a class's images, beyond masking as many pixels elsewhere.

    Of a property, what bringing it to what is usual in the counterpart does, beyond changes of the
    same size: in the opposite direction, and of another property.

    Attributes:
      n: Images.
      recognised: How many of them the model takes for the class as they are; None in an audit of
        an older version, whose `flips` and `by_fill` are of all images.
      margin: The class's median margin, its output less the largest other one, over those; 0 where
        they are fewer than 10.
      drop: By how much masking the place lowers the margin, the mean over images and fills.
      control_drop: By how much masking elsewhere lowers it.
      share: `drop` less `control_drop`, by the margin; None, as `low`, `high` and `by_fill`, where
        the margin is 0.
      low: Lower end of the interval around `share`.
      high: Its upper end.
      p: Of the one-sided paired sign-flip test that the place matters no more than elsewhere.
      flips: Share of the recognised images whose predicted class changes, the mean over fills.
      control_flips: The same, masked elsewhere.
      by_fill: What each fill takes of the recognised images, by the margin: the mean colour, a
        blur, another class's image; of a property, each way of changing it.
    """

    n: int
    recognised: int | None = None
    margin: float
    drop: float
    control_drop: float
    share: float | None
    low: float | None
    high: float | None
    p: float
    flips: float
    control_flips: float
    by_fill: dict[str, float] | None

    @property
    def flips_of(self) -> int:
        """How many images `flips` is a share of."""
        return self.recognised or self.n

    @property
    def flips_of_what(self) -> str:
        """What kind of images `flips` is a share of: all where the model recognises none."""
        return "recognised images" if self.recognised else "images"


class TransplantEffect(Part):
    """What pasting a place into other classes' images does, beyond pasting another patch.

    Of a property, what bringing it to what is usual in the class does to images of the counterpart,
    beyond other changes of the same size.

    Attributes:
      n: Pairs of an image of the class and one of another; of a property, images.
      rise: By how much the class's margin rises, the mean over pairs.
      control_rise: The same with a patch from elsewhere in the same image.
      moved: Share of images then taken for the class.
      control_moved: The same with a patch from elsewhere.
      low: Lower end of the interval around `moved` less `control_moved`.
      high: Its upper end.
      p: Of the one-sided paired sign-flip test that the patch raises the margin no more than
        another.
    """

    n: int
    rise: float
    control_rise: float
    moved: float
    control_moved: float
    low: float
    high: float
    p: float


ShortcutVerdict = Literal["candidate", "cleared", "used", "portable", "undecided"]


class Shortcut(Part):
    """What a class's maps point to, or its images are, as no other class's.

    Attributes:
      class_number: The class.
      class_name: Its name; None where the atlas has none.
      indicator: What found it: a `place`; a `repeat`, what is alike around the peaks of its maps
        wherever they are; a `property` of its images.
      statistic: The indicator's name: `S1`, `S2`, or the property's.
      n: Maps that it was found in, those of half a; of a property all images.
      calibrated: Whether there are classes enough to stand out from (8): with fewer, only an
        experiment says whether it is more than a difference between classes.
      q: By ranks among the classes of `audit.reference`; None where they are too few.
      effect: Of the indicator: S1, a natural logarithm; S2, a mean correlation; of a property, how
        many standard deviations the nearest other class is away.
      others: The largest `effect` of the other classes.
      presence: In what share of the class's maps the place has more mass than in 95 % of the
        others', or the peak looks as it does in 5 % of the others', or the property is as far out.
      region: `[y0, x0, y1, x1]` in 0..1 around the place; None where it is none.
      area: Its share of the image; None where it is no place.
      verdict: `candidate` until an experiment confirms or clears it; `used`, masking it takes what
        masking elsewhere does not; `portable`, and it moves images of other classes; `undecided`,
        too few maps.
      mask: What masking did, or taking the property away; None where it was not tried.
      transplant: What pasting did, or giving the property to others; None where it was not tried.
      untried: Why there was no experiment though the model was asked; None where there was one, or
        the model was not asked.
      counterpart: Of a property that was tried, the class that it was exchanged with: the one whose
        images are most alike in all else.
      counterpart_name: Its name; None where the atlas has none.
      counterpart_distance: How far apart the two are in all else, the largest Cohen's d.
    """

    class_number: int = Field(alias="class")
    class_name: str | None
    indicator: Literal["place", "repeat", "property"]
    statistic: str
    n: int
    calibrated: bool = True
    q: float | None
    effect: float
    others: float | None = None
    presence: float
    region: tuple[float, float, float, float] | None
    area: float | None
    verdict: ShortcutVerdict
    mask: MaskEffect | None
    transplant: TransplantEffect | None
    untried: str | None = None
    counterpart: int | None = None
    counterpart_name: str | None = None
    counterpart_distance: float | None = None

    @property
    def is_used(self) -> bool:
        """Whether the experiment found that the model uses it."""
        return self.verdict in ("used", "portable")

    def not_tried(self, reason: str) -> Shortcut:
        """The same, with the reason why no experiment was made."""
        return self.model_copy(update={"untried": reason})


Outcome = Literal["told", "unconvincing", "untried", "passed_over", "unknown", "needless"]


class Proposal(Part):
    """What does not stand out and was looked into with the model at hand, and what came of it.

    Attributes:
      class_number: The class.
      class_name: Its name; None where the atlas has none.
      indicator: As of a shortcut.
      statistic: The indicator's name: `S1`, `S2`, or the property's.
      region: `[y0, x0, y1, x1]` in 0..1 around the place; None where it is none.
      screened: What masking takes in a few images of half a, a share of their median margin; None
        of a property, and where it is unknown.
      outcome: `told`, it is among the shortcuts; `unconvincing`, the experiment does not say
        enough, or another place of the class more; `untried`, no experiment could be made;
        `passed_over`, by screening it takes too little, or not far more than other classes lose;
        `unknown`, too few images of half a are recognised to screen it, or maps are too small;
        `needless`, the class has a candidate of the kind that is used.
      untried: Why no experiment could be made; None of other outcomes.
      mask: What masking did, or taking the property away; None where there was no experiment.
      transplant: What pasting did, or giving the property to others.
    """

    class_number: int = Field(alias="class")
    class_name: str | None
    indicator: Literal["place", "repeat", "property"]
    statistic: str
    region: tuple[float, float, float, float] | None
    screened: float | None
    outcome: Outcome
    untried: str | None = None
    mask: MaskEffect | None = None
    transplant: TransplantEffect | None = None

    @classmethod
    def of(cls, finding: Shortcut, outcome: Outcome, screened: float | None) -> Proposal:
        """That of a finding as an experiment left it, or as it was proposed."""
        named: dict[str, Any] = {"class": finding.class_number}  # No name of a parameter.
        return cls(
            **named,
            class_name=finding.class_name,
            indicator=finding.indicator,
            statistic=finding.statistic,
            region=finding.region,
            screened=screened,
            outcome=outcome,
            untried=finding.untried,
            mask=finding.mask,
            transplant=finding.transplant,
        )


class ReferenceClasses(Part):
    """The classes that candidates for shortcuts are ranked among.

    Attributes:
      atlases: Those of `audit.reference`.
      classes: How many classes they have with maps enough, of the indicator with the fewest.
      needed: How many it takes for q values.
    """

    atlases: list[str]
    classes: int
    needed: int
