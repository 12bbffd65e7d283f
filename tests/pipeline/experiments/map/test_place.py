"""Dials that were planted are measured back, approximately."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.experiments.map.dials import BASE, Dials
from pipeline.experiments.map.map_folder import save_map
from pipeline.experiments.map.measure import Measured, measure
from pipeline.experiments.map.place import place_data
from pipeline.experiments.map.world import DenseWorld
from pipeline.io.errors import UserError
from tests.pipeline.experiments.map.plans import TINY


def _measure(dials: Dials, rows: int = 60_000) -> Measured:
    drawn = DenseWorld(dials, seed=2).draw(rows, "train")
    categories = [task.category for task in dials.task_list]
    return measure(drawn.x_NF.double().numpy(), drawn.labels_NT.double().numpy(), categories)


@pytest.mark.parametrize("conflict", [-1.0, 0.0, 1.0])
def test_conflict_is_found(conflict: float) -> None:
    found = _measure(replace(BASE, shared=0.9, conflict=conflict, nonlinear=0.3))
    assert found.conflict == pytest.approx(conflict, abs=0.4)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_shared_structure_is_found(shared: float) -> None:
    found = _measure(replace(BASE, shared=shared, nonlinear=0.3))
    assert found.shared == pytest.approx(shared, abs=0.25)


def test_signal_and_nonlinearity_are_found() -> None:
    weak, strong = (_measure(replace(BASE, signal=s, nonlinear=0.0)).signal for s in (0.7, 1.5))
    assert weak == pytest.approx(0.7, rel=0.2)
    assert strong == pytest.approx(1.5, rel=0.3)
    linear, bent = (_measure(replace(BASE, nonlinear=share)).nonlinear for share in (0.0, 0.7))
    assert linear is not None
    assert bent is not None
    assert linear < 0.2 < 0.35 < bent


def test_with_many_inputs_nonlinearity_is_not_measured_and_signal_is_a_lower_bound() -> None:
    drawn = DenseWorld(BASE, seed=2).draw(20_000, "train")
    x_NF = drawn.x_NF.double().numpy()
    x_NF = np.concatenate([x_NF, np.random.default_rng(0).normal(size=(len(x_NF), 60))], axis=1)
    categories = [task.category for task in BASE.task_list]
    found = measure(x_NF, drawn.labels_NT.double().numpy(), categories)
    assert found.nonlinear is None
    assert found.signal is not None
    assert found.signal < BASE.signal


def test_labels_without_signal_are_not_measured() -> None:
    random = np.random.default_rng(0)
    labels_NT = (random.random((30_000, 4)) < 0.3).astype(float)
    found = measure(random.normal(size=(30_000, 6)), labels_NT, ["a", "a", "b", "b"])
    assert found.tasks_used < 2


def test_without_shared_structure_conflict_is_not_measured() -> None:
    assert _measure(replace(BASE, shared=0.0, nonlinear=0.3)).conflict is None


def test_a_map_without_cells_places_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished cell"):
        place_data(tmp_path, save_map(tmp_path, TINY))
