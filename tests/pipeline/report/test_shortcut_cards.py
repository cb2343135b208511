"""Cards of shortcuts in a report: what was found, and what experiments made of it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from reported_atlas import PLANTED, Fake, text_of, write_atlas

from pipeline.atlas import Atlas
from pipeline.audit.result import AuditResult
from pipeline.audit.shortcuts.shortcut import MaskEffect, Proposal, Shortcut, TransplantEffect
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from pipeline.report import write
from transforms.storage import LocalStorage


def used_place() -> Shortcut:
    """A place that an experiment found to be used."""
    mask = MaskEffect(
        n=60, recognised=60, margin=9.0, drop=14.9, control_drop=0.1, share=1.6, low=1.5, high=1.7,
        p=0.001, flips=0.97, control_flips=0.02, by_fill=None,
    )  # fmt: skip
    return Shortcut.model_validate(
        {
            "class": PLANTED, "class_name": "kind 1", "indicator": "place", "statistic": "s1",
            "n": 25, "q": None, "effect": 2.0, "presence": 0.9, "region": (0.0, 0.8, 0.2, 1.0),
            "area": 0.04, "verdict": "used", "mask": mask, "transplant": None,
        }
    )  # fmt: skip


@pytest.fixture
def said(tmp_path: Path) -> Callable[[Shortcut], str]:
    """What the report says of a shortcut."""
    write_atlas(tmp_path / "atlas", Fake(names=[f"kind {n}" for n in range(10)]))
    gates = [{"statistic": "border_energy_mean", "below": 0.9, "name": "no border"}]
    section = AuditSection.model_validate({"gates": gates, "min_n": 20})
    root = tmp_path / "atlas"
    result = audit_atlas(str(root), section, None, None, LocalStorage())

    def said(shortcut: Shortcut) -> str:
        audited = result.model_copy(update={"shortcuts": [shortcut]})
        (root / "audit/audit.json").write_bytes(audited.to_json())
        write(Atlas.open(str(root)), str(tmp_path / "report.html"))
        return text_of((tmp_path / "report.html").read_text())

    return said


def test_a_shortcut_is_said_with_what_masking_it_did(
    tmp_path: Path, said: Callable[[Shortcut], str]
) -> None:
    place = used_place()
    assert (
        "kind 1 is recognised by one place, the top right corner: masked there, 97% of its "
        "recognised images change class, masked elsewhere 2%."
    ) in said(place)
    page = (tmp_path / "report.html").read_text()
    card = page[page.index('<article class="card fail">') : page.index("</article>")]
    # Wilson's intervals of 58.2 and 1.2 of 60, worked out by hand.
    assert "the place masked" in card
    assert "how many of 60 recognised images of the class are then taken for another" in card
    bars = re.findall(r'<svg class="bar".*?</svg> <span>([^<]*)</span>', card, re.S)
    assert bars == ["97%, 89% to 99%", "2%, 0% to 9%"]
    assert "those whose maps have most in the place" in card
    pasted = TransplantEffect(
        n=60, rise=4.0, control_rise=0.1, moved=0.62, control_moved=0.05, low=0.4, high=0.7, p=0.001
    )
    text = said(place.model_copy(update={"transplant": pasted}))
    assert re.search(r"how many of 60 images are then taken.* place pasted ?62%, 49% to 73%", text)
    placeless = {"indicator": "repeat", "statistic": "S2", "region": None, "area": None}
    text = said(place.model_copy(update=placeless))
    assert "With what is at the peak masked" in text
    assert "the highest values of" not in text
    taken = r"taken of its margin ?160%, 150% to 170%, beyond what controls take"
    assert re.search(taken, said(place))
    assert place.mask is not None
    unseen = place.mask.model_copy(update={"recognised": 0, "share": None})
    text = said(place.model_copy(update={"verdict": "candidate", "mask": unseen}))
    assert "masked there, 97% of its images change class, masked elsewhere 2%." in text
    assert "how many of 60 images of the class are then taken for another" in text
    assert "the model recognises 0 of 60 images, and fewer than 10 decide nothing" in text
    untried = place.model_copy(update={"mask": None, "verdict": "candidate"})
    assert "not been tried whether the model uses it, as it has no images." in said(
        untried.not_tried("it has no images")
    )
    assert (
        "kind 1 stands out at one place, the top right corner: it has not been tried whether the "
        "model uses it."
    ) in said(untried)
    repeat = place.model_copy(
        update={"indicator": "repeat", "region": None, "area": None, "effect": 0.62, "others": 0.2}
    )
    text = said(repeat)
    assert (
        "kind 1 is recognised by something that looks alike wherever it is: masked at their peaks, "
        "97% of its recognised images change class"
    ) in text
    assert "0.62, in other classes at most 0.20" in text
    cleared = place.model_copy(update={"verdict": "cleared"})
    assert "Nothing needs a look." in said(cleared)
    assert "one place" not in said(cleared)


def test_what_came_of_proposals_is_among_the_details(
    tmp_path: Path, said: Callable[[Shortcut], str]
) -> None:
    place = used_place()
    assert "looked into with the model" not in said(place)
    path = tmp_path / "atlas/audit/audit.json"
    audited = AuditResult.from_json(path.read_bytes())
    proposals = [Proposal.of(place, "told", 0.9), Proposal.of(place, "passed_over", 0.1)]
    path.write_bytes(audited.model_copy(update={"proposals": proposals}).to_json())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    assert (
        "2 places, peaks and properties of 1 class that do not stand out were looked "
        "into with the model: 1 told, 1 passed over, as masking a few images takes too little."
    ) in re.sub(r"\s+", " ", text_of((tmp_path / "report.html").read_text()))


def test_a_property_is_said_with_what_exchanging_it_did(said: Callable[[Shortcut], str]) -> None:
    place = used_place().model_copy(update={"region": None, "area": None})
    given = TransplantEffect(
        n=60, rise=4.0, control_rise=0.1, moved=0.9, control_moved=0.05, low=0.7, high=1, p=0.001
    )
    tint = {"indicator": "property", "statistic": "saturation", "mask": None, "effect": 4.2}
    changed = {**tint, "verdict": "candidate", "calibrated": False, "q": 0.031}
    text = said(place.model_copy(update=changed))
    assert (
        "kind 1 differs from every other class in the saturation of its images: it has not been "
        "tried whether the model uses it."
    ) in text
    assert "4.2 standard deviations or more from every other class" in text
    assert re.search(r"q ?0\.031.*too few classes to compare with", text)
    exchanged = {**tint, "mask": place.mask, "transplant": given, "counterpart": 3}
    found = place.model_copy(update={**exchanged, "counterpart_name": "kind <3>"})
    text = said(found)
    assert (
        "kind 1 is recognised by the saturation of its images: with the saturation that is usual "
        "in kind <3>, 97% of its recognised images change class, changed as much otherwise 2%."
    ) in html.unescape(text)
    assert "Its saturation given to images of kind <3>" in html.unescape(text)
    size = {**changed, "statistic": "input_width"}
    assert (
        "kind 1 differs from every other class in the input width of its images: how large a "
        "file's image was cannot be changed, so look at the images."
    ) in html.unescape(said(place.model_copy(update=size)))
