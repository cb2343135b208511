"""The pages of the repository, taken apart: blocks, links, headings, tables, trees."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

from architecture import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", ".github/*.md", "[a-z]*/README.md")
    for path in ROOT.glob(pattern)
    if path.is_file() and path.parent.name != "demo"
)


def name_of(page: Path) -> str:
    """As a failing test shows it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order; an empty language for those of none."""
    parts = page.read_text().split("```")[1::2]
    return [part.partition("\n")[2] for part in parts if part.partition("\n")[0] == language]


def prose(page: Path) -> str:
    """The page without fenced blocks."""
    return "".join(page.read_text().split("```")[::2])


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    kept = f"{string.ascii_lowercase}{string.digits}-_ "
    return {
        "".join(letter for letter in heading.lower() if letter in kept).replace(" ", "-")
        for heading in headings
    }


def commands(page: Path) -> list[str]:
    """The command lines of shell blocks, continued lines joined."""
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line.partition(" #")[0].strip() for line in joined.splitlines() if line.strip()]


def rows(page: Path, first: str) -> Iterator[list[str]]:
    """Cells of the rows of all tables whose first column is headed so."""
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not set(line) <= set("|- "):
            yield cells


def tree(page: Path) -> list[str]:
    """Paths in the page's drawing of a folder: those that end in a slash are folders."""
    (drawing,) = [block for block in blocks(page, "") if re.match(r"\w+/\n", block)]
    lines = drawing.splitlines()
    found, parents = [], [lines[0]]
    for line in lines[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], line.split()[0]]
        found.append("".join(parents))
    return found
