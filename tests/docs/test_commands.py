"""Commands of the documents: each exists, with its options, fields, modules and targets."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import pytest

from pipeline.config.fields import fields
from pipeline.config.tree import Config
from tests.docs.documents import DOCUMENTS, ROOT, command_lines, name

_GROUPS = {"features", "bench", "prepare", "plan", "checkpoint", "debug"}
COMMANDS = [
    pytest.param(line, id=f"{name(document)}: {line}")
    for document in DOCUMENTS
    for line in dict.fromkeys(command_lines(document))
]


@cache
def _help(*words: str) -> str:
    command = [sys.executable, "-m", "launchers.cli", *words, "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _fields() -> set[str]:
    return {field.name for field in fields(Config)}


def _check_homerec(words: list[str]) -> None:
    """A homerec command; after `--` the ranks' own."""
    if "--" in words:
        cut = words.index("--")
        _check_homerec(words[cut + 1 :])
        words = words[:cut]
    if words[0] == "--version":
        return
    command = words[:1]
    if words[0] in _GROUPS:
        listed = re.search(rf"^[\s│]+{re.escape(words[1])}\b", _help(words[0]), re.MULTILINE)
        command = words[:2] if listed else [words[0], "find"]
    page = _help(*command)
    for word in words[1:]:
        if not word.startswith("--"):
            continue
        option = word.partition("=")[0]
        if "." in option:
            _check_field(option[2:])
        else:
            assert re.search(rf"{option}\b(?!-)", page), f"{' '.join(command)} has no {option}"


def _check_field(field: str) -> None:
    """A field, or a key of one that is a table of values; other towers have fields of their own."""
    parts = field.split(".")
    prefixes = {".".join(parts[:n]) for n in range(2, len(parts) + 1)}
    assert prefixes & _fields() or field.startswith("model.tower."), f"no field {field}"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_documents_exists(line: str) -> None:
    words = [word for word in shlex.split(line.split("|")[0]) if word != "..."]
    words = [word for word in words if word not in ("[", "]")]
    if words[0] == "homerec":
        _check_homerec(words[1:])
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    else:
        module = words[words.index("-m") + 1]
        assert find_spec(module), module
        if module == "launchers.cli":
            _check_homerec(words[words.index(module) + 1 :])
