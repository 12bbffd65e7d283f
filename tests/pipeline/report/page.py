"""A report's page, read back."""

from __future__ import annotations

import json
from html import unescape
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """The page's elements, its figures by heading, its text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.figures: dict[str, Any] = {}
        self.rows: list[list[str]] = []
        self.text = ""
        self._title = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag == "h3":
            self._title = ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if "figure" in self.open:
                self.figures[self._title] = json.loads(data)
        elif self.open[-1:] != ["style"]:
            self.text += data
            if self.open[-1:] == ["h3"]:
                self._title += data
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row[0] == name)

    def trace(self, figure: str, name: str | None = None) -> dict[str, Any]:
        traces = self.figures[figure]["data"]
        return next(t for t in traces if name is None or unescape(t["name"]) == name)
