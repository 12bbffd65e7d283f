"""Links lead somewhere, and files that documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, anchors, name, prose, text

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"`((?:pipeline|models|embeddings|launchers|tests|benchmarks|docs|requirements|examples)/[\w./-]*)"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(text(document)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_named_exist(document: Path) -> None:
    named = {path.rstrip(".") for path in _PATH.findall(prose(document))}
    assert not [p for p in sorted(named) if "NAME" not in p and not (ROOT / p).exists()]


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        document = todo.pop()
        if document in reached or not document.exists():
            continue
        reached.add(document)
        for link in _LINK.findall(text(document)):
            target = (document.parent / link.partition("#")[0]).resolve()
            todo += sorted(target.glob("*.md")) if target.is_dir() else []
            todo += [target] if target.suffix == ".md" else []
    assert sorted(name(d) for d in DOCUMENTS if d not in reached) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_paragraph_is_longer_than_five_lines(document: Path) -> None:
    long = []
    for paragraph in prose(document).split("\n\n"):
        lines = [line for line in paragraph.strip().splitlines() if line]
        marked = any(line.lstrip().startswith(("|", "-", "#", "!", "<", "1.")) for line in lines)
        if len(lines) > 5 and not marked:
            long.append(lines[0])
    assert not long
