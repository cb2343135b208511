"""The report in Chromium, headless: what a person does, what the page must never do."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_atlas import Fake, write_atlas

from pipeline.atlas import Atlas
from pipeline.commands.audit import audit_atlas
from pipeline.config.audit_section import AuditSection
from pipeline.report import write
from transforms.storage import LocalStorage

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here (on Debian and Ubuntu: apt install chromium)"
)

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 2">',
    "\u202eright to left",
    "x" * 10_000,
    "\u0627\u0644\u0642\u0637\u0637",
)
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    names = [f"kind {number}" for number in range(10)]
    write_atlas(folder / "atlas", Fake(names=names, cameras=("camera 0", "camera 1", "camera 2")))
    write_atlas(folder / "before", Fake(names=names, model="second"))
    atlas, baseline = (Atlas.open(str(folder / name)) for name in ("atlas", "before"))
    write(atlas, str(folder / "report.html"), baseline)
    return folder / "report.html"


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens a report; at the end nothing was asked for, and nothing complained."""
    said: list[str] = []
    context: list[Any] = []

    def open_(path: Path, anchor: str = "", **options: Any) -> Any:
        context.append(
            chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        )
        page = context[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
            ),
        )
        page.goto(f"{path.as_uri()}{anchor}")
        return page

    yield open_
    for each in context:
        each.close()
    assert said == []


def names(page: Any) -> list[str]:
    """Of the classes that are to be seen, in their order."""
    found: list[str] = page.locator(
        "#table tbody:not([hidden]) > tr:first-child > th"
    ).all_inner_texts()
    return [name.strip() for name in found]


def test_columns_sort_both_ways(report: Path, open_page: Open) -> None:
    page = open_page(report)
    assert names(page) == [f"kind {number}" for number in range(10)]
    head = page.locator("#table").get_by_role("columnheader", name="Strongest corner", exact=True)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "kind 1"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(page)[-1] == "kind 1"
    page.get_by_role("button", name="Class", exact=True).click()
    assert names(page) == [f"kind {number}" for number in range(10)]
    assert head.get_attribute("aria-sort") is None


def test_the_filter_is_reached_by_a_key_and_left_by_another(report: Path, open_page: Open) -> None:
    page = open_page(report)
    page.keyboard.press("/")
    page.keyboard.type("KIND 3")
    assert names(page) == ["kind 3"]
    assert page.locator("#found").inner_text() == "1 of 10 classes"
    page.keyboard.press("Escape")
    assert len(names(page)) == 10
    assert page.locator("#found").inner_text() == "10 classes"


def test_a_slice_changes_the_numbers_and_gives_them_back(report: Path, open_page: Open) -> None:
    page = open_page(report)
    row = page.locator('tbody[data-class="1"] > tr').first
    atlas = Atlas.open(str(report.parent / "atlas"))
    (part,) = (
        each
        for each in atlas.slices.select(["slice", "value", "class", "n", "n_correct"]).to_pylist()
        if (each["slice"], each["value"], each["class"]) == ("camera", "camera 2", 1)
    )
    before = row.inner_text().split()
    all_maps = row.locator("img").get_attribute("src")
    row.get_by_role("button").click()
    page.get_by_label("Numbers of").select_option(label="camera: camera 2 (160)")
    page.wait_for_function("document.querySelector('#table.sliced')")
    said = row.inner_text().split()
    assert said[:4] == ["kind", "1", "16", f"{100 * part['n_correct'] / 16:.0f}%"]
    assert row.locator("img").get_attribute("src") != all_maps
    assert page.locator("#about-slice").is_visible()
    head = page.locator("#table").get_by_role("columnheader", name="Accuracy", exact=True)
    head.get_by_role("button").click()
    cells = page.locator("#table > tbody > tr:first-child > td:nth-child(3)")
    shown = [int(text.rstrip("%")) for text in cells.all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    row.get_by_role("button").click()
    page.get_by_label("Numbers of").select_option("")
    page.wait_for_function("!document.querySelector('#table.sliced')")
    assert row.inner_text().split() == before
    assert row.locator("img").get_attribute("src") == all_maps
    assert row.get_by_role("button").get_attribute("aria-expanded") == "false"


def test_a_class_opens_and_back_closes_it(report: Path, open_page: Open) -> None:
    page = open_page(report)
    button = page.get_by_role("button", name="kind 1", exact=True)
    button.click()
    page.get_by_role("heading", name="Typical", exact=True).wait_for()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.locator(".detail .exemplar").count() > 10
    assert page.locator(".detail .outcomes figure").all_inner_texts()[0].split() == [
        *("Right:", "40", "maps")
    ]
    assert page.url.endswith("#class-1")
    page.go_back()
    page.locator(".detail").wait_for(state="detached")
    assert button.get_attribute("aria-expanded") == "false"
    page.go_forward()
    page.get_by_role("heading", name="Typical", exact=True).wait_for()


def test_a_link_opens_its_class(report: Path, open_page: Open) -> None:
    page = open_page(report, "#class-4")
    page.get_by_role("heading", name="Typical", exact=True).wait_for()
    assert page.locator('tbody[data-class="4"] .detail').count() == 1


def test_keys_move_open_and_switch_what_examples_show(report: Path, open_page: Open) -> None:
    page = open_page(report)
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator('tbody[data-class="1"] .detail .exemplar').first.wait_for()
    shown = page.locator('tbody[data-class="1"] .exemplar').first
    for key, kind in (("1", "input"), ("3", "map"), ("2", "overlay")):
        page.keyboard.press(key)
        visible = shown.locator(".view:visible")
        assert visible.count() == 1
        assert kind in str(visible.get_attribute("class"))
        assert page.locator(f'input[value="{kind}"]').is_checked()
    page.get_by_label("map 3").check()
    assert "map" in str(shown.locator(".view:visible").get_attribute("class"))


def test_hostile_names_do_nothing(tmp_path: Path, open_page: Open) -> None:
    values = (*HOSTILE, '"></option></select><img src=x onerror="window.hacked = 3">', "", None)
    hostile = Fake(classes=5, examples=8, names=HOSTILE, ids=HOSTILE[1], cameras=values)
    write_atlas(tmp_path / "atlas", hostile)
    write_atlas(tmp_path / "before", dataclasses.replace(hostile, model="second"))
    atlas, baseline = (Atlas.open(str(tmp_path / name)) for name in ("atlas", "before"))
    write(atlas, str(tmp_path / "report.html"), baseline)
    page = open_page(tmp_path / "report.html", "#class-1")
    page.get_by_role("heading", name="Typical", exact=True).wait_for()
    options = page.locator("#slice option")
    assert options.count() == 1 + len(values) + 2  # all examples, and two outcomes
    for number in range(options.count() - 1):
        page.locator("#slice").select_option(str(number))
        page.wait_for_function("document.querySelector('#table.sliced')")
    assert "camera: its value is empty (5)" in options.all_inner_texts()
    page.locator("#slice").select_option("")
    page.wait_for_function("!document.querySelector('#table.sliced')")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("window.hacked") is None
    assert page.locator("tbody").count() >= 5
    assert HOSTILE[0] in page.locator("#table").inner_text()
    assert page.locator("#compared .exemplar").count() == 12
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_what_moved_has_its_pictures(report: Path, open_page: Open) -> None:
    page = open_page(report, "#compared")
    assert page.locator("#compared .change").count() == 10
    assert page.locator("#compared .change:visible").count() == 6
    page.locator("#compared summary", has_text="4 more classes").click()
    assert page.locator("#compared .change:visible").count() == 10
    sizes = page.locator("#compared .change:visible img").evaluate_all(
        "images => images.map(image => image.naturalWidth)"
    )
    assert sizes == [16] * 30
    example = page.locator("#compared .exemplar").first
    assert example.locator(".view").count() == 3
    assert "order of pixels kept" in example.inner_text()


def test_without_scripts_all_numbers_are_there(report: Path, open_page: Open) -> None:
    page = open_page(report, java_script_enabled=False)
    assert "differs from all other classes" in page.get_by_role("heading", level=1).inner_text()
    assert len(names(page)) == 10
    assert page.locator('tbody[data-class="1"]').inner_text().split() == [
        *("kind", "1", "50", "80%"),
        *("8.0\u00d7", "1.0\u00d7", "0.99\u00d7"),
    ]
    assert page.locator("#filter").is_hidden()
    assert page.locator("noscript").first.is_visible()
    summary = page.locator("noscript summary").last
    assert summary.inner_text() == "The classes by slice: outcome, wrong"
    summary.click()
    row = page.locator("noscript details[open] tr").nth(2).inner_text().split()
    assert row[:4] == ["kind", "1", "10", "0%"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(report: Path, open_page: Open, width: int) -> None:
    page = open_page(report, "#class-1", viewport={"width": width, "height": 800})
    page.get_by_role("heading", name="Typical", exact=True).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # An opened row that spans more columns than are shown would squeeze the others.
    shown = "[...document.querySelectorAll('#table > thead th')].filter(e => e.offsetWidth).length"
    assert page.evaluate(f"document.querySelector('.detail > td').colSpan == {shown}")


def test_long_headings_and_slices_fit_a_phone(tmp_path: Path, open_page: Open) -> None:
    write_atlas(tmp_path / "atlas", Fake(classes=1, examples=30, cameras=("camera 0",)))
    section = AuditSection.model_validate({"gates": [{"statistic": "gini_mean", "below": 0.9}]})
    audit_atlas(str(tmp_path / "atlas"), section, None, None, LocalStorage())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    page = open_page(tmp_path / "report.html", viewport={"width": 390, "height": 800})
    assert page.locator("#table").get_by_role("columnheader", name="Concentration").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    value = page.get_by_role("rowheader", name="camera 0")
    assert value.bounding_box()["width"] > 80  # where it scrolls, words need not break


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(report: Path, open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here")
    # The policy keeps axe's script out, as it would anybody's.
    page = open_page(report, "#class-1", color_scheme=scheme, bypass_csp=True)
    page.get_by_role("heading", name="Typical", exact=True).wait_for()
    found = axe.Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in grave] == []


def test_the_first_sections_print_on_four_pages(tmp_path: Path, open_page: Open) -> None:
    write_atlas(tmp_path / "atlas", Fake(classes=14, examples=30))
    gates = [{"name": "none passes", "statistic": "border_energy_mean", "below": 0.1}]
    section = AuditSection.model_validate({"gates": gates, "min_n": 20})
    audit_atlas(str(tmp_path / "atlas"), section, None, None, LocalStorage())
    write(Atlas.open(str(tmp_path / "atlas")), str(tmp_path / "report.html"))
    page = open_page(tmp_path / "report.html")
    assert page.locator(".card").count() >= 12
    page.evaluate("for (const e of document.querySelectorAll('section:not(#look)')) e.remove()")
    pdf = page.pdf(format="A4")
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 4
