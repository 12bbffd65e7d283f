"""How long the planner's page takes in a browser: loading, sorting, scrolling, hovering, zooming.

    homerec plan TABLES.yaml --cluster h100-8x128 --batch-size 4096 --page page.html
    python -m benchmarks.plan_page page.html

A line an action: milliseconds from the input's event until a frame with its effect is painted,
median and worst of several. Headless chromium without a GPU. "nothing" is the browser's own share:
waiting for the next frame.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from tests.browser import Browser, open_browser

# Each starts the action; `many` times over, i counts. What they change shows in the next frame.
ACTIONS = {
    "nothing": "() => {}",
    "sort the list": "(i, $) => $('.list thead button', i % 12).click()",
    "scroll the list": "(i, $) => { const box = $('.long'); box.scrollTop = (i * 2654435761) "
    "% (box.scrollHeight - box.clientHeight); box.dispatchEvent(new Event('scroll')); }",
    "open a table": "(i, $) => $('.list .opens', 20).click()",
    "filter by name": "(i, $) => { const box = $('[name=text]'); box.value = 'e_' + i % 10; "
    "box.dispatchEvent(new Event('input')); }",
    "hover over bars": "(i, $) => over($('#time .nsewdrag'), i)",
    "hover over the map": "(i, $) => over($('.map .nsewdrag'), i)",
    "zoom all charts": "(i, $) => { const key = new KeyboardEvent('keydown', "
    "{key: i % 2 ? '-' : '+'}); $('#time .plot').dispatchEvent(key); }",
}

MEASURE = """
(async () => {
  const $ = (selector, n = 0) => document.querySelectorAll(selector)[n];
  const over = (area, i) => {
    const box = area.getBoundingClientRect();
    const [x, y] = [5 + i * 7919 % (box.width - 9), 5 + i * 104729 % (box.height - 9)];
    area.dispatchEvent(new MouseEvent('mousemove', {
      clientX: box.x + x, clientY: box.y + y, bubbles: true }));
  };
  const found = [];
  $(PLACE).scrollIntoView({behavior: 'instant'});
  for (let i = 0; i < TIMES; i++) {
    await new Promise(requestAnimationFrame);
    const began = performance.now();
    (ACTION)(i, $);
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    found.push(performance.now() - began);
  }
  return found;
})()
"""
LOADING = (
    "(() => { const it = performance.getEntriesByType('navigation')[0]; "
    "return it.loadEventEnd - it.startTime; })()"
)


def measure(browser: Browser, action: str, times: int) -> list[float]:
    place = "'.list'" if "list" in action or "text" in action else "'#time'"
    place = "'.map'" if ".map" in action else place
    script = MEASURE.replace("PLACE", place).replace("TIMES", str(times))
    found: list[float] = browser.run(script.replace("ACTION", action))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--times", type=int, default=24)
    args = parser.parse_args()
    with open_browser() as browser:
        browser.open(args.page)
        print(f"{'load':20} {browser.run(LOADING):7.1f} ms")  # noqa: T201
        for name, action in ACTIONS.items():
            found = measure(browser, action, args.times)
            print(  # noqa: T201
                f"{name:20} {statistics.median(found):7.1f} ms, worst {max(found):7.1f}"
            )
        assert not browser.faults, browser.faults


if __name__ == "__main__":
    main()
