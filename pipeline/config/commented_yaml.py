"""Writes YAML with comments, in which any text stands for itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_COMMENT_COLUMN = 48
"""Column at which comments start, where the entry is shorter."""


@dataclass(frozen=True)
class Commented:
    """A value with a comment on the same line."""

    value: Any
    comment: str = ""


@dataclass(frozen=True)
class Section:
    """Lines below a key: entries by name, and lines that are only comments."""

    entries: Sequence[tuple[str, Any] | str]
    """(key, value) pairs, where a value is plain data, Commented or Section; text is a comment."""


def write_yaml(section: Section) -> str:
    """Return the text: a line for each entry, and for each value of a list with mappings."""
    return "".join(f"{line}\n" for line in _lines(section, ""))


def flow(value: Any) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(value, Mapping):
        entries = (f"{_scalar(key)}: {flow(inner)}" for key, inner in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def one_line(text: str) -> str:
    """Return a comment's text with control characters and line breaks escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _lines(section: Section, indent: str) -> Iterator[str]:
    for entry in section.entries:
        if isinstance(entry, str):
            yield f"{indent}# {one_line(entry)}".rstrip()
            continue
        key, value = entry
        comment = ""
        if isinstance(value, Commented):
            value, comment = value.value, value.comment
        if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield _with_comment(f"{indent}{_scalar(key)}:", comment)
            yield from (f"{indent}  - {flow(one)}" for one in value)
        elif isinstance(value, Section):
            yield _with_comment(f"{indent}{_scalar(key)}:", comment)
            yield from _lines(value, indent + "  ")
        else:
            yield _with_comment(f"{indent}{_scalar(key)}: {flow(value)}", comment)


def _with_comment(line: str, comment: str) -> str:
    return f"{line:{_COMMENT_COLUMN}}  # {one_line(comment)}" if comment else line


def _scalar(value: Any) -> str:
    """PyYAML knows which text needs quotes; inside [] it also minds flow style."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    text = yaml.safe_dump(
        [value], default_flow_style=True, default_style=style, width=math.inf, allow_unicode=True
    )
    return text[1:-2]
