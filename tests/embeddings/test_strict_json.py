"""JSON as Python reads it, or one line says why not."""

from __future__ import annotations

import pytest

from embeddings.strict_json import DuplicateKey, check_keys, parse_json


def test_values_are_those_of_json() -> None:
    assert parse_json('{"a": [1, {"a": 2.5}], "b": {}}') == {"a": [1, {"a": 2.5}], "b": {}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": 1, "a": 1}', "key 'a' is given twice"),
        ('[{"b": {"c": 1, "d": 2, "\\u0063": 1}}]', "key 'c' is given twice"),
        ('{"a\\nb": 1, "a\\nb": 2}', r"key 'a\\nb' is given twice"),
        ('{"a": 1,\n}', "line 2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_fault_is_one_line(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=rf"\A{fault}[^\n]*\Z"):
        parse_json(text)


def test_only_keys_are_checked() -> None:
    for text in ("", "{", "[" * 100_000, '{"a": NaN}', "9" * 10_000):
        check_keys(text)
    with pytest.raises(DuplicateKey, match="key 'a' is given twice"):
        check_keys('{"a": ' + "9" * 10_000 + ', "a": -Infinity}')
