"""Which feature is named for a step that went wrong."""

from __future__ import annotations

import pytest
import torch

from pipeline.faults.attribution import DIVERGED, attribute

_COLUMNS = [("user", 4), ("video", 2), ("age", 1), ("duration", 1)]


@pytest.mark.parametrize(
    ("column", "name"), [(0, "user"), (3, "user"), (4, "video"), (6, "age"), (7, "duration")]
)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_the_columns_feature_and_row(column: int, name: str, bad: float) -> None:
    sound, wrong = torch.randn(5, 8), torch.randn(5, 8)
    wrong[2, column] = bad
    spoilt = torch.full((5, 8), torch.nan)
    assert attribute(wrong, spoilt, _COLUMNS) == f"feature {name}: values not finite in row 2"
    assert attribute(sound, wrong, _COLUMNS) == f"feature {name}: gradient not finite in row 2"
    wrong[2, column] = 1e6
    assert attribute(wrong, spoilt, _COLUMNS).startswith(
        f"feature {name}: largest norm 1e+06 in row 2"
    )


def test_weights_that_diverged_are_no_features_fault() -> None:
    """Ordinary values, and every gradient spoilt: as after a step with lr 1e30."""
    values, spoilt = torch.randn(5, 8), torch.full((5, 8), torch.nan)
    assert attribute(values, spoilt, _COLUMNS) == DIVERGED
