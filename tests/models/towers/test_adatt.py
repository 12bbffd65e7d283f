"""AdaTT's two fusions, and its probes."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.layers.experts import ExpertLayer
from models.layers.gates import Gate, NativeWeights
from models.probe import probing
from models.tasks import Task
from models.towers.adatt import AdaTT
from models.towers.config import AdattConfig
from models.towers.level import Level
from tests.models.building import SMALL, TASKS, build, perturb, rows
from tests.models.reference.build import reference

NAMES = {task.name for task in TASKS}


def adatt(**changes: object) -> AdaTT:
    tower = perturb(build(AdattConfig.model_validate(SMALL | changes)))
    assert isinstance(tower, AdaTT)
    return tower


@given(
    levels=st.integers(1, 3),
    own=st.integers(1, 3),
    shared=st.integers(0, 3),
    categories=st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sizes_equal_the_naive_form(
    levels: int, own: int, shared: int, categories: list[int]
) -> None:
    tasks = [Task(name=str(i), category=str(c)) for i, c in enumerate(categories)]
    config = AdattConfig(
        num_levels=levels,
        num_task_specific_experts=own,
        num_shared_experts=shared,
        expert_hidden=(4,),
        expert_dim=3,
        tower_hidden=(),
    )
    tower = perturb(build(config, tasks))
    naive = reference(tower, tasks)
    logits, expected = tower(rows(6)), naive(rows(6))
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for source, index, parameter in naive.links:
        assert source.grad is not None
        torch.testing.assert_close(source.grad[index], parameter.grad)


@pytest.mark.parametrize(("own", "shared"), [(1, 1), (2, 1), (2, 0), (1, 3)])
def test_probe_explains_what_a_task_mixed(own: int, shared: int) -> None:
    tower = adatt(num_task_specific_experts=own, num_shared_experts=shared).eval()
    with probing(tower) as probe:
        logits = tower(rows(9))
    torch.testing.assert_close(logits, tower(rows(9)))
    groups = {"shared": shared} | {f"task_specific.{name}": own for name in NAMES}
    last = {f"level2.{group}.{i}" for group, size in groups.items() for i in range(size)}
    assert set(probe.experts) == last | {name.replace("level2", "level1") for name in last}
    assert set(probe.gates) == set(probe.self_gates) == NAMES
    first = {f"level1.{name}" for name in (NAMES | {"shared"} if shared else NAMES)}
    assert set(probe.meta_gates) == set(probe.meta_self_gates) == first
    mixed = []
    for name in tower.towers.names:
        assert set(probe.gates[name]) == last  # every task may use every expert
        assert set(probe.self_gates[name]) == {
            f"level2.task_specific.{name}.{i}" for i in range(own)
        }
        total = torch.stack([*probe.gates[name].values()]).sum(0)
        torch.testing.assert_close(total, torch.ones(9).double())
        y = torch.zeros(9, 5).double()
        for gates in (probe.gates[name], probe.self_gates[name]):
            for expert, weight in gates.items():
                y = y + weight[:, None] * probe.experts[expert]
        mixed.append(y)
    torch.testing.assert_close(tower.towers(torch.stack(mixed)), logits)


def test_native_weights_are_learned_unless_there_is_one_expert() -> None:
    gates = [Gate("a", [0], [0]), Gate("b", [0], [1, 3]), Gate("c", [0], [2])]
    natives = NativeWeights(gates, 4)
    natives.init_weights(0)
    weights = natives(torch.zeros(0))
    assert natives.weight is not None
    b0, b1 = natives.weight.tolist()
    assert weights.tolist() == [[1, 0, 0, 0], [0, b0, 0, b1], [0, 0, 1, 0]]
    assert not [*NativeWeights(gates[:1], 4).parameters()]


def test_gates_that_ignore_task_specific_experts_leave_them_a_gradient() -> None:
    """That of the native weights: what AdaTT has against experts that no gate picks."""
    tower = adatt(num_levels=1)
    (level,) = tower.levels
    assert isinstance(level, Level)
    start = 0
    for gate in level.gates.gates:
        own = f"level1.task_specific.{gate.name.removeprefix('level1.gate.')}.0"
        seen = [level.experts.names[e] for e in gate.experts]
        level.gates.bias.data[start + seen.index(own)] = -1e9
        start += len(seen)
    tower(rows(9)).square().sum().backward()
    (first, _) = level.experts.layers
    assert isinstance(first, ExpertLayer)
    assert first.linear.weight.grad is not None
    assert (first.linear.weight.grad.flatten(1).abs().amax(1) > 0).all()
