"""Every test that docs/design/promises.md names exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT

_NAMED = re.findall(
    r"`(tests/[\w/.]+)::(\w+)`",
    (ROOT / "docs" / "design" / "promises.md").read_text(encoding="utf-8"),
)


def test_promises_name_tests() -> None:
    assert len(_NAMED) > 50


@pytest.mark.parametrize(("file", "test"), _NAMED)
def test_the_test_of_a_promise_exists(file: str, test: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {test}\(", source, re.MULTILINE), f"{file} has no {test}"
