"""The Markdown documents of the repository, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^(?:    .*|[ \t]*)\n)+", re.MULTILINE)


def name(document: Path) -> str:
    """As a person calls it: relative to the repository."""
    return document.relative_to(ROOT).as_posix()


def text(document: Path) -> str:
    """All of it."""
    return document.read_text(encoding="utf-8")


def prose(document: Path) -> str:
    """Without fenced and indented blocks."""
    return _INDENTED.sub("\n", _FENCE.sub("", text(document)))


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text(document)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def command_lines(document: Path) -> list[str]:
    """Commands of its blocks: continued lines joined, comments removed."""
    joined = text(document).replace("\\\n", " ")
    lines = re.findall(
        r"^    +(homerec .+|python -m .+|torchrun .+|make .+)$", joined, re.MULTILINE
    )
    return [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
