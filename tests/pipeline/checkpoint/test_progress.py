"""What a run remembers of its evaluations."""

from __future__ import annotations

import pytest

from pipeline.checkpoint.progress import Progress


@pytest.mark.parametrize(
    ("select", "values", "best"),
    [
        ("mean/auc", [0.6, 0.7, 0.65, None, 0.69], 1),
        ("click/ne", [0.9, 0.8, 0.85, None, 0.81], 1),
        ("mean/gauc", [None, None, 0.5, 0.4, None], 2),
    ],
)
def test_the_best_is_kept_and_the_others_counted(
    select: str, values: list[float | None], best: int
) -> None:
    progress = Progress(select=select)
    for step, value in enumerate(values):
        progress.step = step
        progress.note(value)
    assert progress.best_step == best
    assert progress.best_value == values[best]
    assert progress.evaluations_without_better == len(values) - 1 - best


def test_another_metric_starts_anew() -> None:
    progress = Progress(step=9, select="mean/auc", best_step=4, best_value=0.7)
    assert progress.selecting("mean/auc") is progress
    other = progress.selecting("mean/ne")
    assert (other.step, other.best_step, other.best_value) == (9, None, None)
    assert other.note(0.99)
