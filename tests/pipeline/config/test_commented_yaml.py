"""Any names and values come back from the file, whatever the comments hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from embeddings.strict_yaml import parse_yaml
from pipeline.config.commented_yaml import Commented, Section, write_yaml

_TEXT = st.text(max_size=300) | st.sampled_from(
    ["yes", "1", "010", "1:30", "2026-05-01", "a: b", "# x", "<<", "=", "?", "-", "null", "~", "]"]
)
_SCALAR = _TEXT | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.none()
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(_TEXT, _VALUE, max_size=5), st.text(), st.text())
def test_the_file_loads_back_to_the_same_tree(
    tree: dict[str, Any], comment: str, line: str
) -> None:
    inner = [(key, Commented(value, comment)) for key, value in tree.items()]
    section = Section([line, ("inside", Section([line, *inner, ("last", 1)])), *tree.items()])
    text = write_yaml(section)
    assert parse_yaml(text) == {"inside": {**tree, "last": 1}} | tree


def test_an_entry_is_one_line_with_its_comment() -> None:
    section = Section(["a table", ("age", Commented({"type": "number"}, "74 values\nfrom 17"))])
    head, entry = write_yaml(section).splitlines()
    assert head == "# a table"
    assert entry.split("  # ") == ["age: {type: number}".ljust(48), r"74 values\nfrom 17"]
