"""Takes the README's picture of a report: its head, as a browser of 1,280 pixels shows it.

    .venv/bin/python -m demonstration.picture demo/report.html .github/demo-report.png

It needs Chromium (on Debian and Ubuntu: apt install chromium).
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1280, 1312
COLOURS = 128  # Enough for what is mostly ink on paper, in a third of the bytes.


def take(report: Path, picture: Path, browser: str) -> None:
    """Writes the picture.

    Args:
      report: The page.
      picture: The PNG to write.
      browser: Chromium's executable.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        taken = page.screenshot()
        chromium.close()
    image = Image.open(io.BytesIO(taken)).convert("RGB").quantize(COLOURS)
    image.save(picture, format="PNG", optimize=True)


def main() -> int:
    """Takes the picture; without a browser it says what to install."""
    parser = argparse.ArgumentParser(description="Takes the picture of a report.")
    parser.add_argument("report", type=Path, help="the page")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("error: no Chromium here: apt install chromium", file=sys.stderr)
        return 2
    take(arguments.report, arguments.picture, browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
