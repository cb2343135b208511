"""The report as a file: what it says, what it leaves out, what it does with hostile text."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from reported_atlas import PLANTED, Fake, text_of, write_atlas

from pipeline import cli
from pipeline.atlas import Atlas
from pipeline.report import write
from pipeline.report.classes import slices
from pipeline.report.classes.exemplars import ATYPICAL, TYPICAL, WRONG, Selection, choose, highest
from pipeline.report.classes.views import mean_maps
from transforms.elements import Failure
from transforms.errors import ConfigurationError

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 2">',
    "\u202eright to left\u202c",
    "x" * 10_000,
    "byte \udcff".encode("utf-8", "backslashreplace").decode(),
    "",
    "\u0627\u0644\u0642\u0637\u0637",
    "{{ 7 * 7 }}",
    "</template></table><style>*{display:none}</style>",
    "a\x00\x1b[31m",
)


CAMERAS = tuple(f"camera {number}" for number in range(4))

Make = Callable[[Fake], str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write_and_read(fake: Fake) -> str:
        write_atlas(tmp_path / "atlas", fake)
        output = tmp_path / "report.html"
        written = write(Atlas.open(str(tmp_path / "atlas")), str(output))
        assert written["bytes"] == output.stat().st_size
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        return output.read_text(encoding="utf-8")

    return write_and_read


def opened(page: str, number: int) -> str:
    """What opens below a class."""
    (found,) = re.findall(rf'<template data-of="{number}">([^<]*)</template>', page)
    return gzip.decompress(base64.b64decode(found)).decode()


def test_it_says_what_stands_out_with_its_numbers(make: Make) -> None:
    text = text_of(make(Fake(names=[f"kind {n}" for n in range(10)])))
    # Half of the saliency in a sixteenth of the area is 8 times an even map's, a tenth 1.6 times.
    times = "\u00d7"
    said = "kind 1 differs from all other classes: its strongest corner holds "
    assert re.search(rf"{said}[78].\d{times} the saliency of an even map, theirs 1.\d{times}", text)
    assert "No gates are configured: this page describes, it does not judge." in text
    assert "Explained500 images in 10 classes" in text
    assert "Outlined: top right corner: 4% of the area" in text
    for number in range(10):
        assert f"kind {number} 50 " in text
    assert "Every record that was read could be explained." in text


def test_it_is_the_same_for_the_same_atlas(make: Make, tmp_path: Path) -> None:
    first = make(Fake())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text() == first


def test_only_our_script_and_styles_may_run(make: Make) -> None:
    page = make(Fake(classes=3))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    policy = html.unescape(policy)
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "img-src data:; base-uri 'none'; form-action 'none'" in policy
    assert not re.findall(r' style="| on\w+="|<link|<iframe|srcset', page)
    addresses = set(re.findall(r'(?:src|href)="([^"#]{0,12})', page))
    assert {address[:10] for address in addresses} <= {"data:image", "https://ar", "https://py", ""}


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_names_are_harmless_and_readable(make: Make, place: int) -> None:
    names = [HOSTILE[place], "b", "c"]
    page = make(Fake(classes=3, examples=8, names=names, ids=HOSTILE[place][:200]))
    pieces = [page, *(opened(page, number) for number in range(3))]
    for piece in pieces:
        body = re.sub(r"<(script|style)>.*?</\1>", "", piece, count=2, flags=re.S)
        assert not re.search(r"<script|<img[^>]*onerror|\u202e|\x1b|\x00|<style>\*", body)
        assert "49" not in re.findall(r"<bdi>(\d+)</bdi>", body)
    text = text_of(page)
    readable = {2: "\\u202eright to left", 5: "class 0 (its name is empty)", 9: "a\\x00\\x1b[31m"}
    assert readable.get(place, HOSTILE[place]) in text


def test_a_predicted_class_without_maps_has_its_name(make: Make) -> None:
    below = text_of(opened(make(Fake(classes=1, names=["ant", "bee"])), 0))
    assert "taken for bee" in below
    assert "class 1" not in below


def test_slices_stand_in_a_table_and_in_the_menu(make: Make, tmp_path: Path) -> None:
    page = make(Fake(classes=3, examples=50, cameras=CAMERAS[:3]))
    rows = Atlas.open(str(tmp_path / "atlas")).slices
    columns = ["slice", "value", "class", "n", "n_correct", "corner_energy_mean"]
    known = [row for row in rows.select(columns).to_pylist() if row["slice"] == "camera"]
    (table,) = re.findall(r"All classes together, by slice\..*?</table>", page, re.S)
    by_value = dict(zip(re.findall("camera [0-9]", table), table.split("<tr>")[2:], strict=False))
    for value, shown in by_value.items():
        mine = [row for row in known if row["value"] == value]
        n = sum(row["n"] for row in mine)
        mean = sum(row["n"] * row["corner_energy_mean"] for row in mine) / n * 16
        accuracy = f"{sum(row['n_correct'] for row in mine) / n:.0%}"
        cells = re.findall(r'<td class="number">([^<]*)</td>', shown)
        assert cells[:4] == ["3", str(n), accuracy, f"{mean:.1f}\u00d7"]
    assert len(by_value) == 3
    packed = re.findall(r'<template data-slice="0">([^<]*)</template>', page)[0]
    found = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert [row[0] for row in found] == [0, 1, 2]
    assert [row[2] for row in found] == [row["n"] for row in known if row["value"] == "camera 0"]
    corner = [row["corner_energy_mean"] for row in known if row["value"] == "camera 0"]
    assert [row[6][0][1] for row in found] == pytest.approx(corner, rel=1e-5)
    # Where no script runs, the same is there as text.
    (plain,) = re.findall(r"<bdi>camera 0</bdi></summary>.*?</table>", page, re.S)
    cells = [re.findall(r'"number">([^<]*)</td>', each)[:3] for each in plain.split("<tr>")[2:]]
    mine = [row for row in known if row["value"] == "camera 0"]
    accuracies = [f"{row['n_correct'] / row['n']:.0%}" for row in mine]
    of_corners = [f"{row['corner_energy_mean'] * 16:.1f}\u00d7" for row in mine]
    assert [*zip(*cells, strict=True)] == [
        tuple(str(row["n"]) for row in mine), tuple(accuracies), tuple(of_corners)
    ]  # fmt: skip


def test_of_many_slices_the_commonest_are_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_ROWS", 12)
    monkeypatch.setattr(slices, "MOST_MAPS", 11)
    monkeypatch.setattr(slices, "MOST_CLASS_ROWS", 11)
    page = make(Fake(classes=3, examples=10, cameras=CAMERAS))
    assert page.count("<template data-slice") == 4
    assert "2 rarer values are left out here and in the menu" in text_of(page)
    assert 'class="classes without-maps"' in page
    assert "Mean maps of parts are left out" in text_of(page)
    assert "and so do the classes' numbers by slice" in text_of(page)
    assert "The classes by slice: " not in text_of(page)


def test_an_atlas_without_labels_has_no_slices_of_outcomes(make: Make) -> None:
    page = make(Fake(labelled=False, examples=5))
    assert "by slice" not in text_of(page).replace("by slice. All numbers", "")
    assert "Right beside wrong" not in opened(page, 1)


@pytest.mark.parametrize(
    "fake", [Fake(examples=5, labelled=False), Fake(examples=5, predicted=False)]
)
def test_without_labels_or_predictions_nothing_is_right_or_wrong(make: Make, fake: Fake) -> None:
    below = text_of(opened(make(fake), PLANTED))
    assert "Typicaltheir maps nearest to the class's mean map" in below
    assert not re.search("[Ww]rong|rightly|[Rr]ight ", below)


def test_failures_are_grouped(make: Make) -> None:
    failures = [
        Failure("a.tfrecord", number, None, "decode", "UndecodableImage", "no <image>")
        for number in (7, 3, 1200)
    ]
    failures.append(Failure("b.tfrecord", None, None, "read", "Unreadable", "gone"))
    text = text_of(make(Fake(failures=failures)))
    assert "4 records could not be explained." in text
    assert (
        "decodeUndecodableImage3no <image>a.tfrecord, record 3; a.tfrecord, record 7; "
        "a.tfrecord, record 1,200" in text
    )


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (Fake(classes=2), "2 classes"),
        (
            Fake(classes=2, method={"integrated_gradients": {"steps": 9}}),
            "Methodintegrated gradients (steps 9) of the label's output",
        ),
        (Fake(labelled=False), "differs from all other classes"),
        (Fake(thumbnails=False), "With output: {thumbnail: 96} a run stores small ones."),
        (Fake(examples=0), "Nothing has been explained: this page is empty."),
        (Fake(status="incomplete"), "This atlas is not finished, so the page shows a part of it."),
        (Fake(status="failed"), "so the run counts as failed. See the failures."),
        (Fake(kind="tensor", shape=(16,), sketch=(16,), thumbnails=False), "Evenness"),
        (Fake(kind="tensor", shape=(8, 3), sketch=(8, 3), thumbnails=False), "Concentration"),
    ],
)
def test_every_atlas_has_a_report(make: Make, fake: Fake, said: str) -> None:
    page = make(fake)
    assert said in text_of(page)
    assert page.endswith("</html>")
    if fake.examples and fake.status != "incomplete":
        assert "Typical" in opened(page, PLANTED)


def test_exemplars_are_those_of_their_rules(tmp_path: Path) -> None:
    write_atlas(tmp_path / "atlas", Fake(classes=3, examples=40))
    atlas = Atlas.open(str(tmp_path / "atlas"))
    rows = atlas.table(
        ["example_id", "label", "target", "predicted", "predicted_score", "sketch", "corner_energy"]
    ).to_pylist()
    table = atlas.classes
    shape = (16, 16)
    maps = mean_maps(table)
    selection = Selection(("corner_energy",), 3, {2: 5}, whole_maps=True)
    chosen = choose(atlas, maps, selection)

    def expected(number: int, cost, keep) -> list[str]:  # type: ignore[no-untyped-def]
        mine = [row for row in rows if row["target"] == number and keep(row)]
        found = sorted(mine, key=cost)[: 5 if number == 2 else 3]
        return [row["example_id"] for row in found]

    def distance(row) -> float:  # type: ignore[no-untyped-def]
        sketch = np.asarray(row["sketch"], np.float64).reshape(shape)
        return round(float(np.abs(sketch / sketch.sum() - maps[row["target"]]).sum()), 6)

    def right(row) -> bool:  # type: ignore[no-untyped-def]
        return bool(row["label"] == row["predicted"])

    for number in range(3):
        ids = {
            rule: [e.example_id for e in found] for rule, found in chosen.by_rule[number].items()
        }
        assert sorted(ids[TYPICAL]) == sorted(expected(number, distance, right))
        assert ids[WRONG] == expected(
            number, lambda row: -row["predicted_score"], lambda row: not right(row)
        )
        assert ids[highest("corner_energy")] == expected(
            number, lambda row: -row["corner_energy"], lambda _: True
        )
        assert len(ids[ATYPICAL]) == len(ids[TYPICAL])
    picture = chosen.by_rule[1][TYPICAL][0]
    values = atlas.map(picture.example_id)
    np.testing.assert_allclose(picture.plane, values / values.mean(), rtol=1e-4)
    assert picture.thumbnail == atlas.thumbnail(picture.example_id)


def test_many_classes_have_fewer_and_smaller_examples(make: Make) -> None:
    page = make(Fake(classes=200, examples=5))
    assert len(page) < 200 * 12_000
    assert "Typical" in opened(page, 150)
    assert "Atypical" not in opened(page, 150)


def test_the_command_writes_it_beside_the_maps(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    write_atlas(tmp_path / "atlas", Fake(classes=3))
    assert cli.main(["report", str(tmp_path / "atlas")]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/atlas/report.html (")
    page = tmp_path / "atlas" / "report.html"
    assert page.read_text().startswith("<!doctype html>")


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Atlas.open(str(tmp_path))
    assert "is no atlas: it has no manifest.json" in str(raised.value)
    write_atlas(tmp_path / "atlas", Fake(classes=3))
    away = str(tmp_path / "absent" / "report.html")
    assert cli.main(["report", str(tmp_path / "atlas"), "--output", away]) == 2
    assert not Path(away).parent.exists()
    assert cli.main(["report", str(tmp_path)]) == 2


def test_a_report_that_breaks_off_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atlas(tmp_path / "atlas", Fake(classes=1, examples=2))
    atlas, output = Atlas.open(str(tmp_path / "atlas")), tmp_path / "report.html"

    def broken(*_: object) -> Iterator[str]:
        yield "<!doctype html>"
        raise ZeroDivisionError

    for path in (str(output), output.as_uri()):
        written = write(atlas, path)
        whole = output.read_bytes()
        assert written["bytes"] == len(whole)
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.report.writing.render", broken)
            with pytest.raises(ZeroDivisionError):
                write(atlas, path)
        assert output.read_bytes() == whole
    assert sorted(each.name for each in tmp_path.iterdir()) == ["atlas", "report.html"]
    assert "Enginetensorflow, float32, batches of" in text_of(whole.decode())
