"""A file of a type is read as a plain dict; another one is one line: place, value, fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NotRequired

import pytest
from pydantic import with_config
from typing_extensions import TypedDict

from pipeline.io.errors import UserError
from pipeline.io.typed_json import CLOSED, Count, Number, read_typed


@with_config(CLOSED)
class Best(TypedDict):
    step: Count
    values: NotRequired[dict[str, Number | None]]


def read(folder: Path, text: str) -> object:
    path = folder / "best.json"
    path.write_text(text, encoding="utf-8")
    return read_typed(path, Best, remedy="remove it")


def test_what_is_of_the_type_comes_back(tmp_path: Path) -> None:
    text = '\ufeff{"step": 3, "values": {"a": 1, "b": 0.5, "c": null}}'
    assert read(tmp_path, text) == {"step": 3, "values": {"a": 1, "b": 0.5, "c": None}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON (EOF while parsing a value at line 1 column 0)"),
        ('{"step": 3,\n}', "not JSON (trailing comma at line 2 column 1)"),
        ("[" * 10_000, "not JSON (recursion limit exceeded at line 1 column 202)"),
        ('{"step": 3, "step": 3}', "key 'step' is given twice"),
        ('{"step": 3, "values": {"a": 1, "a": 2}}', "key 'a' is given twice"),
        ("[3]", "[3] is not an object"),
        ("{}", "step: field required"),
        ('{"step": -1}', "step: -1 is not greater than or equal to 0"),
        ('{"step": 1e3}', "step: 1000.0 is not a valid integer"),
        ('{"step": true}', "step: True is not a valid integer"),
        ('{"step": "3"}', "step: '3' is not a valid integer"),
        ('{"step": 9007199254740992}', "step: 9007199254740992 is not less than 9007199254740992"),
        ('{"step": 3, "stop": 4}', "stop: 4 is not"),
        ('{"step": 3, "values": {"a": NaN}}', "values.a: nan is not a finite number"),
        ('{"step": 3, "values": {"a": 1e999}}', "values.a: inf is not a finite number"),
        ('{"step": 3, "values": {"a": "x"}}', "values.a: 'x' is not a finite number"),
        ('{"step": "' + "x" * 500 + '"}', "step: '" + "x" * 56 + "... is not"),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    said = f"^{re.escape(f'{tmp_path}/best.json: {fault}')}.*; remove it$"
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)
