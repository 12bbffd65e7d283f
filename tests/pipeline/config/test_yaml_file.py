"""A YAML file is read in UTF-8, strictly; what is wrong is one line with the file and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.overrides import resolve
from pipeline.config.yaml_file import read_yaml
from pipeline.io.errors import UserError
from tests import odd_files


@pytest.mark.parametrize(
    ("data", "tree"),
    [
        (b"", {}),
        (b"# nothing\n", {}),
        (b"\xef\xbb\xbftrain: {epochs: 2}\n", {"train": {"epochs": 2}}),
        (b"data: {path: caf\xc3\xa9}\n", {"data": {"path": "café"}}),
        (b"data: {path: 2026-01-31}\n", {"data": {"path": "2026-01-31"}}),
        (b"a: &x {b: 1}\nc: {<<: *x, d: 2}\n", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_what_is_read(data: bytes, tree: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(data)
    assert read_yaml(path) == tree


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xff\n", "run.yaml: line 2: not UTF-8: byte 0xff; save it as UTF-8"),
        ("a: 1\n".encode("utf-16"), "run.yaml: line 1: not UTF-8: byte 0xff; save it as UTF-8"),
        (b"a: 1\nb: \x01\n", "run.yaml: line 2: not YAML: character U+0001; remove it"),
        (b"a:\n\tb: 3", "run.yaml: line 2: not YAML: found character '\\t' that cannot start"),
        (b"a:\n  b: [", "run.yaml: line 2: not YAML: "),
        (b"a: {b: 2}\na: {c: 3}\n", "run.yaml: line 2: not YAML: 'a' is given twice; remove one"),
        (b"a: {1: 2}", "run.yaml: line 1: not YAML: key 1 is not text; quote it"),
        (b"a: !!int b", "run.yaml: line 1: not YAML: invalid literal for int()"),
        (b"a: &x {b: *x}", "run.yaml: line 1: not YAML: found unconstructable recursive node"),
        (b"a: 1\n---\nb: 1\n", "run.yaml: line 2: not YAML: but found another document"),
        (b"a: !!python/object:os.system {}", "run.yaml: line 1: not YAML: could not determine"),
        (b"[" * 3000, "run.yaml: nested too deeply"),
        (b"- a", "run.yaml: a list; write sections, such as 'train:'"),
        (b"train: {epoch: 2}", "run.yaml: unknown field 'train.epoch'; did you mean 'epochs'?"),
        (b"train: 3", "run.yaml: train: 3: a section; give its fields, such as train."),
        (b"train: {epochs: yes}", "run.yaml: train.epochs: true or false; write a number"),
        (b"loss: {task_weights: {a: on}}", "run.yaml: loss.task_weights.a: true or false; write"),
        (b"train: {epochs: " + b"x" * 5000 + b"}", "xxx...: write a whole number"),
        (b"recipe: dem", "unknown recipe 'dem'; did you mean 'demo'?"),
    ],
)
def test_a_faulty_file_is_named_in_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        resolve(None, path, [])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(UserError, match=f"^{path}: cannot be read: [A-Z][a-z ]+$"):
        read_yaml(path)
    odd_files.put("pipe", path)
    with pytest.raises(UserError, match=f"^{path}: is a pipe, not a file; "):
        read_yaml(path)
