"""Fields of earlier versions are refused with their present name."""

from __future__ import annotations

import pytest

from pipeline.config.overrides import parse
from pipeline.config.renamed import _RENAMED
from pipeline.config.tree import build, fields
from pipeline.io.errors import UserError


@pytest.mark.parametrize("old", [name for name in _RENAMED if "." in name])
def test_an_old_name_on_the_command_line_names_the_new_one(old: str) -> None:
    with pytest.raises(UserError, match=f"command line: '{old}' is .*; use '{_RENAMED[old]}'"):
        parse([f"--{old}", "1"])


def test_an_old_section_of_a_file_names_the_new_one() -> None:
    with pytest.raises(UserError, match=r"run\.yaml: 'watch' is .*; use 'faults'"):
        build({"recipe": "demo", "watch": {"limit": 3}}, where="run.yaml")


def test_every_present_name_is_a_field() -> None:
    known = {name for name, *_ in fields()}
    sections = {name.partition(".")[0] for name in known}
    assert set(_RENAMED.values()) <= known | sections
