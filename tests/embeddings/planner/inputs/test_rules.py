"""Rules from files: a mistake is one line about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from embeddings.planner.inputs.rules import load_rules


def test_one_mistake_is_not_told_as_two(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{tables: a, width: 6}]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rules\.0\.width: 6: Input should be a multiple of 4$"):
        load_rules(path)
    path.write_text("rules: []\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rules: \[\]: Tuple should have at least 1 item"):
        load_rules(path)
