"""A simulated world is what its dials say."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from pipeline.experiments.map.dials import BASE, FAST, FULL, Dials, random_cells
from pipeline.experiments.map.world import DenseWorld

_ROWS = 50_000


def _logits(dials: Dials) -> Tensor:
    return DenseWorld(dials, seed=3).draw(_ROWS, "test").logits_NT


@pytest.mark.parametrize("ratio", [1.0, 100.0])
@pytest.mark.parametrize("signal", [0.7, 3.0])
def test_labels_have_the_rates_of_the_dials(ratio: float, signal: float) -> None:
    dials = replace(BASE, rate=0.4, ratio=ratio, signal=signal)
    drawn = DenseWorld(dials, seed=1).draw(_ROWS, "train")
    rates_T = torch.tensor(dials.rates, dtype=torch.float64)
    assert rates_T.max() / rates_T.min() == pytest.approx(ratio)
    error_T = (rates_T * (1 - rates_T) / _ROWS).sqrt()
    assert ((drawn.labels_NT.double().mean(0) - rates_T).abs() < 5 * error_T + 0.02 * rates_T).all()


def test_logits_have_the_spread_of_the_signal() -> None:
    for signal in (0.7, 3.0):
        spread_T = _logits(replace(BASE, signal=signal, shared=0.0)).std(0)
        assert (spread_T / signal - 1).abs().max() < 0.05


def test_conflict_is_the_correlation_between_categories() -> None:
    for conflict in (-1.0, -0.5, 1.0):
        logits_NT = _logits(replace(BASE, tasks=2, shared=1.0, conflict=conflict))
        assert torch.corrcoef(logits_NT.T)[0, 1].item() == pytest.approx(conflict, abs=0.12)


def test_shared_is_the_correlation_within_a_category() -> None:
    for shared in (0.0, 0.5, 1.0):
        within = torch.corrcoef(_logits(replace(BASE, shared=shared)).T)[:3, :3]
        mean = (within.sum() - 3) / 6
        assert mean.item() == pytest.approx(shared, abs=0.15)


def test_identical_tasks_have_the_same_logits() -> None:
    logits_NT = _logits(replace(BASE, shared=1.0, conflict=1.0, ratio=1.0))
    torch.testing.assert_close(logits_NT, logits_NT[:, :1].expand_as(logits_NT))


def test_without_a_nonlinear_share_logits_are_linear() -> None:
    drawn = DenseWorld(replace(BASE, nonlinear=0.0), seed=0).draw(1_000, "test")
    x_NF = torch.cat([drawn.x_NF, torch.ones(1_000, 1)], 1).double()
    fitted_NT = x_NF @ torch.linalg.lstsq(x_NF, drawn.logits_NT).solution
    torch.testing.assert_close(fitted_NT, drawn.logits_NT, atol=1e-5, rtol=1e-5)


def test_splits_differ_and_draws_repeat() -> None:
    world = DenseWorld(BASE, seed=5)
    first, again = world.draw(64, "train"), DenseWorld(BASE, seed=5).draw(64, "train")
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.x_NF, world.draw(64, "val").x_NF)
    assert not torch.equal(first.x_NF, DenseWorld(BASE, seed=6).draw(64, "train").x_NF)


def test_cells_have_names_of_their_own() -> None:
    cells = {cell for grid in (*FAST, *FULL) for cell in grid.cells()} | {
        *random_cells(20, (1_024,))
    }
    assert len({cell.name for cell in cells}) == len(cells)
    assert all(Dials(**asdict(cell)) == cell for cell in cells)
