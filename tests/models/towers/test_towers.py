"""Every tower against its naive form, and what all towers have in common."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.layers.norm import BatchNorm
from models.tasks import Task
from models.towers.config import (
    HomeConfig,
    TowerConfig,
)
from tests.models.building import (
    NUM_FEATURES,
    TASKS,
    build,
    perturb,
    rows,
)
from tests.models.reference.build import reference
from tests.models.reference.parts import Reference, gradient
from tests.models.towers.configurations import CONFIGS, KINDS, TASK_LISTS


def assert_equal(tower: Callable[[Tensor], Tensor], naive: Reference, v: Tensor) -> None:
    """Same logits, same gradients of features and of all weights."""
    v, v_naive = v.clone().requires_grad_(), v.clone().requires_grad_()
    logits, expected = tower(v), naive(v_naive)
    torch.testing.assert_close(logits, expected)
    dlogits = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).double()
    logits.backward(dlogits)  # type: ignore[no-untyped-call]
    expected.backward(dlogits)
    torch.testing.assert_close(v.grad, v_naive.grad)
    for source, index, parameter in naive.links:
        assert source.grad is not None
        torch.testing.assert_close(source.grad[index], gradient(parameter))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_tower_equals_its_naive_form(config: TowerConfig, training: bool) -> None:
    tower = perturb(build(config)).train(training)
    assert_equal(tower, reference(tower, TASKS), rows(9))


@pytest.mark.parametrize("tasks", TASK_LISTS.values(), ids=TASK_LISTS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_any_list_of_tasks(kind: str, tasks: tuple[Task, ...]) -> None:
    tower = perturb(build(CONFIGS[kind], tasks))
    naive = reference(tower, tasks)
    assert_equal(tower, naive, rows(9))
    assert naive(rows(9)).shape == (9, len(tasks))


@pytest.mark.parametrize("name", [*KINDS, "home, feature-gate per group", "home, shallow"])
def test_form_that_compiles_equals_the_naive_one(name: str) -> None:
    """backend='eager' runs the captured graph as it is, so that no C++ compiler is needed.

    In evaluation the same form is exported, below.
    """
    tower = perturb(build(CONFIGS[name])).train()
    torch._dynamo.reset()
    captured = torch.compile(tower, backend="eager", fullgraph=True)
    assert_equal(captured, reference(tower, TASKS), rows(9))


@given(
    batch=st.integers(2, 40),
    num_features=st.integers(1, 12),
    sizes=st.tuples(*[st.integers(1, 3)] * 4),
    width=st.integers(1, 9),
    masks=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    categories=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    switches=st.tuples(*[st.booleans()] * 5),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_home_equals_its_naive_form_for_any_sizes(
    batch: int,
    num_features: int,
    sizes: tuple[int, ...],
    width: int,
    masks: tuple[int, int],
    categories: list[int],
    switches: tuple[bool, ...],
) -> None:
    config = HomeConfig(
        num_meta_experts=sizes[0],
        num_global_experts=sizes[1],
        num_category_experts=sizes[2],
        num_task_specific_experts=sizes[3],
        expert_hidden=(width + 1,),
        expert_dim=width,
        tower_hidden=(3,),
        num_masks=masks[0],
        mask_rank=masks[1],
        hierarchy_mask=switches[0],
        feature_gate_1=switches[1],
        feature_gate_2=switches[2],
        self_gate=switches[3],
        feature_gate_per="expert" if switches[4] else "group",
        # Batch statistics of few rows amplify rounding without bound.
        normalization="layer",
    )
    tasks = [Task(name=str(i), category=str(c)) for i, c in enumerate(categories)]
    tower = perturb(build(config, tasks, num_features))
    assert_equal(tower, reference(tower, tasks), rows(batch, num_features))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_order_of_tasks_does_not_change_a_task(
    config: TowerConfig,
) -> None:
    order = [3, 0, 4, 2, 1]
    tower, shuffled = build(config), build(config, [TASKS[i] for i in order])
    torch.testing.assert_close(shuffled(rows(9)), tower(rows(9))[:, order], rtol=0, atol=0)
    shuffled.load_state_dict(tower.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_depend_on_the_seed_alone(kind: str) -> None:
    config = CONFIGS[kind]
    towers = []
    for seed, of_torch in [(0, 1), (0, 2), (1, 2)]:
        torch.manual_seed(of_torch)
        with torch.device("meta"):
            tower = config.build(num_features=NUM_FEATURES, tasks=TASKS)
        tower.to_empty(device="cpu")
        for tensor in (*tower.parameters(), *tower.buffers()):
            tensor.detach().fill_(torch.nan)
        tower.init_weights(seed)
        towers.append(tower.state_dict())
    for name, tensor in towers[0].items():
        assert tensor.isfinite().all(), name
        torch.testing.assert_close(tensor, towers[1][name], rtol=0, atol=0)
    assert any(not torch.equal(tensor, towers[2][name]) for name, tensor in towers[0].items())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_tower_learns(config: TowerConfig) -> None:
    tower = build(config)
    v = rows(64)
    labels = torch.stack([(v[:, i] > 0).double() for i in range(len(TASKS))], dim=1)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(tower(v), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("kind", ["home", "mmoe*"])
def test_autocast_is_close_to_float32(kind: str) -> None:
    """Looser than bfloat16's 8 bits, as its error adds up over layers."""
    tower = perturb(build(CONFIGS[kind])).float()
    v = rows(64).float().requires_grad_()
    expected = tower(v)
    with torch.autocast("cpu", torch.bfloat16):
        logits = tower(v)
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1)
    (dv,) = torch.autograd.grad(logits.float().sum(), v)
    (expected_dv,) = torch.autograd.grad(expected.sum(), v)
    assert torch.cosine_similarity(dv.flatten(), expected_dv.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_exported_tower_takes_any_batch(kind: str) -> None:
    tower = perturb(build(CONFIGS[kind])).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    program = torch.export.export(tower, (rows(8),), dynamic_shapes=(batch,))
    for size in (1, 5, 300):
        torch.testing.assert_close(program.module()(rows(size)), tower(rows(size)))


def test_evaluation_leaves_the_tower_alone() -> None:
    tower = perturb(build(CONFIGS["home"])).eval()
    before = copy.deepcopy(tower.state_dict())
    tower(rows(9))
    torch.testing.assert_close(tower.state_dict(), before, rtol=0, atol=0)
    # And a row's logits do not depend on the other rows.
    torch.testing.assert_close(tower(rows(9))[:3], tower(rows(9)[:3]))
    assert any(isinstance(module, BatchNorm) for module in tower.modules())
