"""Files that mean harm: pickles that run code, and names that are markup."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.browser import Browser

MARKUP = (
    "\"'><hostile onclick=harm()></script><script>harm()</script><img src=x onerror=harm()>"
    '<a href="https://example.org/">&lt;b&gt;</a>{{ 7 * 7 }}\u202e'
)


class Touch:
    """Unpickled, it makes a file: the sign that the code in it ran."""

    def __init__(self, sign: Path) -> None:
        self._command = f"touch '{sign}'"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


def assert_works(payload: bytes, sign: Path) -> None:
    """The file is as hostile as it says: plain pickle runs it."""
    pickle.loads(payload)
    assert sign.exists()
    sign.unlink()


def poison(value: Any, accepted: Callable[[Any], bool], *, keys: bool = True) -> Any:
    """A copy with MARKUP after every text that may be any text, as `accepted` says.

    A text is changed wherever it stands, so that what refers to a name still does. `keys`: also
    texts that are only keys.
    """

    def go(found: Any, texts: Sequence[str]) -> Any:
        changed = _marked(found, set(texts))
        if accepted(changed):
            return changed
        if len(texts) == 1:
            return found
        half = len(texts) // 2
        return go(go(found, texts[:half]), texts[half:])

    return go(value, list(dict.fromkeys(_texts(value, keys=keys))))


def _texts(value: Any, *, keys: bool) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value if keys else ()
        yield from _texts(list(value.values()), keys=keys)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, keys=keys)


def _marked(value: Any, texts: set[str]) -> Any:
    if isinstance(value, str):
        return value + MARKUP if value in texts else value
    if isinstance(value, dict):
        return {_marked(key, texts): _marked(part, texts) for key, part in value.items()}
    return [_marked(part, texts) for part in value] if isinstance(value, list) else value


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.scripts = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.scripts += tag == "script" and not attrs


def assert_escaped(html: str) -> None:
    """No name has become an element; the one script that runs is the page's."""
    tags = _Tags(html)
    assert tags.names.isdisjoint({"hostile", "img", "iframe"})
    assert tags.scripts == 1


def assert_harmless(browser: Browser, page: Path) -> None:
    """In a browser: nothing from names is in the document, every chart is drawn."""
    browser.open(page)
    browser.settle()
    made = "document.querySelectorAll('hostile, img[src=x], .plot a').length"
    empty = "[...document.querySelectorAll('.plot')].filter(plot => !plot.querySelector('svg'))"
    assert browser.run("document.querySelectorAll('.plot').length") > 0
    assert browser.run(made) == 0
    assert browser.run(f"{empty}.length") == 0
    assert browser.run("document.body.innerText.includes('{{ 7 * 7 }}')")
    assert browser.faults == []
