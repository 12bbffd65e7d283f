"""SMES: which experts run, and what reaches the others."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.layers import sparse_experts
from models.layers.routing import load_balancing_loss, route
from models.probe import probing
from models.tasks import Task
from models.tower import auxiliary_loss
from models.towers.config import SmesConfig
from models.towers.smes import SMES
from tests.models.building import CLICK, LIKE, SMALL, TASKS, build, perturb, rows
from tests.models.ranks import Ranks
from tests.models.reference.build import reference
from tests.models.reference.parts import gradient
from tests.models.reference.smes import ReferenceSmes


def smes(tasks: tuple[Task, ...] = TASKS, **changes: object) -> SMES:
    tower = perturb(build(SmesConfig.model_validate(SMALL | changes), tasks))
    assert isinstance(tower, SMES)
    return tower


def naive_of(tower: SMES, tasks: tuple[Task, ...] = TASKS) -> ReferenceSmes:
    naive = reference(tower, tasks)
    assert isinstance(naive, ReferenceSmes)
    return naive


def gradients_of_experts(tower: SMES) -> Tensor:
    """Largest gradient of any weight of each expert, [E]."""
    gradients = [p.grad for p in tower.routed.experts.parameters() if p.grad is not None]
    return torch.stack([gradient.flatten(1).abs().amax(1) for gradient in gradients]).amax(0)


@given(
    batch=st.integers(1, 12),
    num_experts=st.integers(1, 7),
    top_k=st.tuples(st.integers(0, 4), st.integers(0, 3)),
    categories=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    sharpness=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    normalization=st.sampled_from(["none", "layer"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sizes_equal_the_naive_form(
    batch: int,
    num_experts: int,
    top_k: tuple[int, int],
    categories: list[int],
    sharpness: float,
    normalization: str,
) -> None:
    """Sharpness 0: all routing weights are equal, and the first experts are chosen."""
    shared = min(top_k[0], num_experts)
    own = min(top_k[1], num_experts - shared)
    if not shared + own:
        shared = 1
    tasks = tuple(Task(name=str(i), category=str(c)) for i, c in enumerate(categories))
    tower = smes(
        tasks,
        num_experts=num_experts,
        shared_top_k=shared,
        task_top_k=own,
        normalization=normalization,
        load_balancing_weight=0.5,
    )
    with torch.no_grad():
        for parameter in tower.routed.routers.parameters():
            parameter.mul_(sharpness)
    naive = naive_of(tower, tasks)
    v, v_naive = rows(batch).requires_grad_(), rows(batch).requires_grad_()
    logits, expected = tower(v), naive(v_naive)
    torch.testing.assert_close(logits, expected)
    loss, expected_loss = auxiliary_loss(tower), 0.5 * naive.load_balancing
    assert loss is not None
    torch.testing.assert_close(loss, expected_loss.double())
    (logits.square().sum() + loss).backward()
    (expected.square().sum() + expected_loss).backward()
    torch.testing.assert_close(v.grad, v_naive.grad)
    for source, index, parameter in naive.links:
        assert source.grad is not None
        torch.testing.assert_close(source.grad[index], gradient(parameter))


@pytest.mark.parametrize("grouped", [True, False])
def test_experts_that_are_not_chosen_get_no_gradient(grouped: bool) -> None:
    """Exactly none, neither from the tasks nor from the balance of the load."""
    tower = smes(num_experts=16, shared_top_k=1, task_top_k=1).train()
    tower = tower.float() if grouped else tower
    naive = naive_of(tower)
    v = rows(3).to(tower.towers.biases[0].dtype)
    naive(v)
    chosen = {e for row in naive.chosen for experts in row.values() for e in experts}
    assert 2 <= len(chosen) < 12
    runs = torch.arange(16).expand(3, 16) < 2
    assert sparse_experts.is_wanted(v, runs) == grouped
    (tower(v).square().sum() + tower.auxiliary_loss()).backward()
    moved = gradients_of_experts(tower).nonzero().flatten().tolist()
    assert set(moved) <= chosen
    assert len(moved) >= len(chosen) - 2  # ReLU may stop some


@pytest.mark.parametrize("grouped", [True, False])
def test_a_task_reaches_its_own_experts_alone(grouped: bool) -> None:
    tower = smes(num_experts=16, shared_top_k=1, task_top_k=2, activation="swish")
    tower = tower.float() if grouped else tower
    naive = naive_of(tower)
    v = rows(1).to(tower.towers.biases[0].dtype)
    naive(v)
    for t, task in enumerate(TASKS):
        tower.zero_grad()
        tower(v)[:, t].sum().backward()
        moved = gradients_of_experts(tower).nonzero().flatten().tolist()
        assert set(moved) == set(naive.chosen[0][task.name])
        # Nor do the routers of other tasks, or weights of experts that it did not choose.
        weight = tower.routed.routers.weight.grad
        assert weight is not None
        per_task = weight.view(len(TASKS), 16, -1).abs().amax(2)
        found = {(int(r), int(e)) for r, e in per_task.nonzero()}
        router = tower.towers.names.index(task.name)
        assert found == {(router, e) for e in naive.chosen[0][task.name]}


@pytest.mark.parametrize("features", [7, 16, 33])
@pytest.mark.parametrize("normalization", ["none", "layer"])
@pytest.mark.parametrize("autocast", [False, True])
def test_grouped_products_equal_masked_ones(
    normalization: str, features: int, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SmesConfig.model_validate(
        {"expert_hidden": (9, 8), "expert_dim": 5, "normalization": normalization}
    )
    results = []
    for grouped in (True, False):
        if not grouped:
            monkeypatch.setattr(sparse_experts, "is_wanted", lambda *_: False)
        tower = perturb(build(config, num_features=features)).float()
        v = rows(50, features).float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = tower(v).float()
        loss = auxiliary_loss(tower)
        assert loss is not None
        (logits.square().mean() + loss).backward()
        results.append([logits, loss, v.grad, *(p.grad for p in tower.parameters())])
    for left, right in zip(*results, strict=True):
        assert left is not None
        if autocast:  # bfloat16 may move a row across the corner of ReLU
            assert torch.cosine_similarity(left.flatten(), right.flatten(), dim=0) > 0.98
        else:
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_experts_of_all_tasks_are_chosen_before_those_of_one() -> None:
    """By hand: two tasks, four experts; the sum prefers expert 2, which is no task's favourite."""
    weights = torch.tensor([[[0.5, 0.05, 0.4, 0.05], [0.05, 0.5, 0.4, 0.05]]])
    routing = route(weights.log(), 1, 1)
    assert routing.chosen_BTE.tolist() == [[[True, False, True, False], [False, True, True, False]]]
    expected = torch.tensor([[[5 / 9, 0, 4 / 9, 0], [0, 5 / 9, 4 / 9, 0]]])
    torch.testing.assert_close(routing.weights_BTE, expected)
    # f = (1/2, 1/2, 1, 0), p = (.275, .275, .4, .05), E / K = 2
    torch.testing.assert_close(load_balancing_loss(routing), torch.tensor(2 * (0.275 + 0.4)))


def test_of_equal_weights_the_first_are_chosen() -> None:
    routing = route(torch.zeros(3, 2, 5), 2, 1)
    assert routing.chosen_BTE.tolist() == [[[True, True, True, False, False]] * 2] * 3


def test_an_even_load_has_a_loss_of_one_and_a_collapsed_one_more() -> None:
    one_each = 9 * torch.eye(6)[:, None].expand(6, 3, 6)  # row e sends all tasks to expert e
    torch.testing.assert_close(load_balancing_loss(route(one_each, 1, 0)), torch.tensor(1.0))
    same = one_each[:1].expand(6, 3, 6)
    assert load_balancing_loss(route(same, 1, 0)) > 5.9


def test_the_load_balancing_loss_evens_out_the_load() -> None:
    shares = []
    for weight in (0.0, 1.0):
        tower = smes(num_experts=8, shared_top_k=1, task_top_k=0, load_balancing_weight=weight)
        optimizer = torch.optim.Adam(tower.parameters(), lr=0.03)
        v = rows(256)
        labels = (v[:, :5] > 0).double()
        for _ in range(60):
            loss = nn.functional.binary_cross_entropy_with_logits(tower(v), labels)
            optimizer.zero_grad()
            (loss + tower.auxiliary_loss()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with probing(tower) as probe:
            tower(v)
        shares.append(max(float(runs.double().mean()) for runs in probe.runs.values()))
    assert shares[1] < 0.7 * shares[0]


def test_the_mean_over_ranks_is_the_loss_of_the_global_batch() -> None:
    """Loss and gradients, though the shares of each rank's rows differ."""
    config = SmesConfig.model_validate(SMALL | {"load_balancing_weight": 1.0})
    alone = perturb(build(config))
    alone(rows(12))
    assert isinstance(alone, SMES)
    loss = alone.auxiliary_loss()
    loss.backward()  # type: ignore[no-untyped-call]
    ranks = Ranks(2)

    def of_rank(rank: int) -> tuple[Tensor, list[Tensor | None]]:
        tower = config.build(num_features=7, tasks=TASKS, batch_mean=ranks.batch_mean(rank))
        tower.double().load_state_dict(alone.state_dict())
        tower(rows(12)[rank * 6 : rank * 6 + 6])
        part = tower.auxiliary_loss()
        part.backward()  # type: ignore[no-untyped-call]
        return part.detach(), [p.grad for p in tower.routed.routers.parameters()]

    parts = ranks.run(of_rank)
    torch.testing.assert_close(torch.stack([part for part, _ in parts]).mean(), loss.detach())
    for i, parameter in enumerate(alone.routed.routers.parameters()):
        mean = sum(grads[i] for _, grads in parts) / 2  # type: ignore[misc]
        torch.testing.assert_close(mean, parameter.grad)


@pytest.mark.parametrize("tasks", [(CLICK,), (CLICK, LIKE)], ids=["one task", "two tasks"])
def test_probe_explains_what_a_task_mixed(tasks: tuple[Task, ...]) -> None:
    tower = smes(tasks, num_experts=6).eval()
    naive = naive_of(tower, tasks)
    naive(rows(9))
    with probing(tower) as probe:
        logits = tower(rows(9))
    torch.testing.assert_close(logits, tower(rows(9)))
    names = [f"expert.{e}" for e in range(6)]
    assert [*probe.experts] == [*probe.runs] == names
    assert set(probe.gates) == {task.name for task in tasks}
    for row, chosen in enumerate(naive.chosen):
        running = {names.index(name) for name, runs in probe.runs.items() if runs[row]}
        assert running == {e for experts in chosen.values() for e in experts}
        for task, experts in chosen.items():
            weights = {n: float(weight[row]) for n, weight in probe.gates[task].items()}
            assert {names.index(n) for n, weight in weights.items() if weight} == set(experts)
            assert sum(weights.values()) == pytest.approx(1)


def test_the_loss_is_of_training_and_read_once() -> None:
    tower = smes().eval()
    tower(rows(3))
    with pytest.raises(AssertionError):
        tower.auxiliary_loss()
    tower.train()(rows(3))
    assert tower.auxiliary_loss().dim() == 0
    with pytest.raises(AssertionError):
        tower.auxiliary_loss()
    assert auxiliary_loss(nn.Linear(3, 2)) is None


def test_a_compiled_tower_has_the_same_loss() -> None:
    tower = smes().train()
    tower(rows(9))
    expected = tower.auxiliary_loss()
    torch._dynamo.reset()
    captured = torch.compile(tower, backend="eager", fullgraph=True)
    captured(rows(9))
    torch.testing.assert_close(tower.auxiliary_loss(), expected)
