from __future__ import annotations

import re
from pathlib import Path

import pytest

from embeddings.planner.inputs.files import read_yaml
from embeddings.quoted import quoted
from embeddings.strict_yaml import parse_yaml
from pipeline.config.yaml_file import read_yaml as read_configuration

# 12 levels of 9 aliases: 0.5 kB that stand for 3e11 values.
_LEVELS = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
_BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *_LEVELS])
_MERGES = [f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}]}}" for n in range(1, 12)]
_MERGE_BOMB = "\n".join(["b0: &b0 {x: 1}", *_MERGES])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("\ufeffa: 1", {"a": 1}),
        ("a: [0, -7, 0x10, 1_000, 0.5, .5, 1.0e+3]", {"a": [0, -7, 16, 1000, 0.5, 0.5, 1e3]}),
        ("a: '010'\nb: 2026-01-31", {"a": "010", "b": "2026-01-31"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: *x}", {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}),
    ],
)
def test_what_is_read(text: str, value: object) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {b: 1}\na: 2", "line 2: not YAML: 'a' is given twice; remove one"),
        ("a:\n  b: 1\n  b: 1", "line 3: not YAML: 'b' is given twice; remove one"),
        ("a: 010", "line 1: not YAML: '010' is 8 to YAML; write that, or quote it"),
        ("a: 1:30", "line 1: not YAML: '1:30' is 90 to YAML; write that, or quote it"),
        ("a: 1:30.5", "line 1: not YAML: '1:30.5' is 90.5 to YAML; write that, or quote it"),
        ("a: " + "1" * 5000, "line 1: not YAML: Exceeds the limit"),
        ("a: &x {b: *x}", "line 1: not YAML: found unconstructable recursive node"),
        ('a: !!bool "x"', "line 1: not YAML: the value does not fit its tag; remove the tag"),
        ("a: !!set [1]", "line 1: not YAML: the value does not fit its tag; remove the tag"),
        ('a: !!int ""', "line 1: not YAML: the value does not fit its tag; remove the tag"),
        ('a: "\\UFFFFFFFF"', "not YAML: an escape that is no character"),
        ("[" * 3000, "nested too deeply, or a value contains itself"),
        (_BOMB, "line 1: not YAML: aliases (*NAME) repeat over 100,000 values; write out what you"),
        (_MERGE_BOMB, "line 1: not YAML: aliases (*NAME) repeat over 100,000 values"),
        ("? " + "x" * 500 + "\n: 1\n? " + "x" * 500 + "\n: 1", "line 3: not YAML: 'xxx"),
    ],
)
def test_what_is_not_meant_is_refused_in_one_short_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}") as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_inputs_of_the_planner_and_configurations_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text, said in (("a: 1\na: 1", "line 2: not YAML: 'a' is given twice"), (_BOMB, "aliases")):
        path.write_text(text, encoding="utf-8-sig")
        for read in (read_yaml, read_configuration):
            with pytest.raises(ValueError, match=f"^{path}: .*{said}"):
                read(path)


def test_a_long_value_is_cut() -> None:
    assert quoted([1, "b"]) == "[1, 'b']"
    assert len(quoted("x" * 10_000)) == 200
    assert quoted("x" * 10_000).endswith("x...")
