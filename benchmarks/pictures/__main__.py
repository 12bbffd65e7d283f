"""Pictures of the charts of a page, for the documents: one PNG per chart.

homerec map --anomalies --out runs/anomalies
python -m benchmarks.pictures runs/anomalies/anomalies.html docs/images/anomaly
"""

from __future__ import annotations

import argparse
import base64
import re
from pathlib import Path

from tests.browser import Browser, open_browser

_RECT = """
(i => { const box = document.querySelectorAll('figure')[i].getBoundingClientRect();
  return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}; })
"""
_TITLE = "(i => document.querySelectorAll('figure h3')[i].textContent)"


def picture(browser: Browser, number: int, path: Path) -> None:
    """Write a chart with its heading as PNG."""
    clip = {**browser.run(f"{_RECT}({number})"), "scale": 1}
    answer = browser.ask(
        "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
    )
    path.write_bytes(base64.b64decode(answer["data"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("prefix", help="start of the pictures' names")
    parser.add_argument("--width", type=int, default=1_000, help="of the window, in pixels")
    given = parser.parse_args()
    with open_browser() as browser:
        browser.resize(given.width, 1_200)  # first: charts are drawn to fit
        browser.open(given.page)
        browser.dark(False)
        for number in range(browser.run("document.querySelectorAll('figure').length")):
            title = browser.run(f"{_TITLE}({number})").partition(":")[0]
            name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
            path = Path(f"{given.prefix}_{name}.png")
            picture(browser, number, path)
            print(path)  # noqa: T201


if __name__ == "__main__":
    main()
