"""Each balance of tasks against the textbook: gradient vectors, one by one, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from models.balancing.balance import Balance, Fixed
from models.balancing.config import FixedConfig, GradNormConfig, PcGradConfig, UncertaintyConfig
from models.balancing.draws import Draws
from models.balancing.global_batch import GlobalBatch
from models.balancing.gradnorm import GradNorm
from models.balancing.pcgrad import projected_weights
from models.balancing.task_gradients import Shared
from models.losses import known_shares, task_losses
from tests.models.building import NUM_FEATURES, TASKS, build, perturb, rows, small_home
from tests.models.ranks import Ranks

_ROWS = 16
_POOLED = 5  # of the 7 features; the others are dense numbers
_CONFIGS = (FixedConfig(), UncertaintyConfig(), GradNormConfig(), PcGradConfig())


def labels(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(_ROWS, len(TASKS), generator=generator) < 0.4).double()
    drawn[torch.rand(_ROWS, len(TASKS), generator=generator) < 0.2] = math.nan
    return drawn


def small_tower(batch_mean: object = None) -> nn.Module:
    tower = small_home().build(num_features=NUM_FEATURES, tasks=TASKS, batch_mean=batch_mean)  # type: ignore[arg-type]
    tower.init_weights(0)
    return perturb(tower.double())


class Forward:
    """Features through a tower to each task's loss, and what balances ask for."""

    def __init__(self, tower: nn.Module, v: Tensor, y: Tensor) -> None:
        self.tower = tower
        self.v = v.clone().requires_grad_()
        self.parameters = list(tower.parameters())
        weights = torch.ones(len(v), 1).double()
        self.losses = task_losses(tower(self.v), y, weights)
        self.shares = known_shares(y, weights)

    def shared(self) -> Shared:
        return Shared(self.v, _POOLED, self.parameters)

    def total(self, balance: Balance) -> Tensor:
        total: Tensor = balance(self.losses, self.shares, self.shared)[0]
        return total

    def of_task(self, task: int) -> Tensor:
        """The gradient of one task's loss as one long vector."""
        return self.vector(self.losses[task])

    def vector(self, loss: Tensor) -> Tensor:
        inputs = [self.v, *self.parameters]
        dv, *rest = torch.autograd.grad(loss, inputs, retain_graph=True, materialize_grads=True)
        return torch.cat([dv[:, :_POOLED].flatten(), *(part.flatten() for part in rest)])


def made(config: object, task_weights: Sequence[float] = (1.0,) * len(TASKS)) -> Balance:
    balance: Balance = config.build(task_weights, 0, GlobalBatch())  # type: ignore[attr-defined]
    return balance.double()


def test_fixed_is_bit_equal_to_the_weighted_sum() -> None:
    forward = Forward(build(small_home()), rows(_ROWS), labels())
    weights = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])
    losses = forward.losses.float()
    total, _ = Fixed(weights.tolist())(losses, forward.shares, forward.shared)
    assert torch.equal(total, torch.dot(losses, weights))


def test_uncertainty_is_the_likelihood_of_every_known_label() -> None:
    y = labels()
    balance = made(UncertaintyConfig())
    with torch.no_grad():
        for parameter in balance.parameters():
            parameter.copy_(torch.linspace(-1, 1, len(TASKS)))
    (log_variances,) = balance.parameters()
    tower = small_tower()
    forward = Forward(tower, rows(_ROWS), y)
    with torch.no_grad():
        logits = tower(rows(_ROWS))
    expected = torch.zeros(()).double()
    for b, t in itertools.product(range(_ROWS), range(len(TASKS))):
        if not y[b, t].isnan():
            p = torch.sigmoid(logits[b, t])
            loss = -torch.log(p if y[b, t] == 1 else 1 - p)
            variance = torch.exp(log_variances[t])
            expected = expected + (loss / variance + torch.log(variance.sqrt())) / _ROWS
    total = forward.total(balance)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        torch.autograd.grad(total, log_variances), torch.autograd.grad(expected, log_variances)
    )


def test_gradnorm_moves_its_weights_as_autograd_says() -> None:
    config = GradNormConfig(alpha=0.7, lr=0.1)
    balance, tower = made(config), small_tower()
    assert isinstance(balance, GradNorm)
    weights = torch.ones(len(TASKS)).double()
    first: list[float | None] = [None] * len(TASKS)
    for step in range(4):
        y = labels(step)
        if step == 0:
            y[:, 1] = math.nan  # its first loss is that of the next batch
        forward = Forward(tower, rows(_ROWS, seed=step), y)
        torch.testing.assert_close(balance.weights, weights)
        expected = sum(weights[t] * forward.of_task(t) for t in range(len(TASKS)))
        total = forward.total(balance)
        torch.testing.assert_close(forward.vector(total), expected)

        known = [t for t in range(len(TASKS)) if not y[:, t].isnan().all()]
        norms, progress = {}, {}
        for t in known:
            gradient = forward.of_task(t)[: _ROWS * _POOLED]
            norms[t] = gradient.square().sum().sqrt()
            loss = (forward.losses[t] / forward.shares[t]).item()
            first[t] = first[t] or loss
            progress[t] = loss / (first[t] or loss)
        mean_progress = sum(progress.values()) / len(known)
        w = weights.clone().requires_grad_()
        mean = sum((w[t] * norms[t]).detach() for t in known) / len(known)
        distance = sum(
            (w[t] * norms[t] - mean * (progress[t] / mean_progress) ** config.alpha).abs()
            for t in known
        )
        assert isinstance(distance, Tensor)
        (slope,) = torch.autograd.grad(distance / mean, w)
        weights = (weights - config.lr * slope).clamp_min(0.01)
        weights = weights / weights.sum() * len(TASKS)
    assert (weights - 1).abs().max() > 0.05


def test_pcgrad_is_the_sum_of_projected_vectors() -> None:
    scales = (1.0, 0.5, 2.0, 1.0, 1.0)
    balance, tower, draws = made(PcGradConfig(), scales), small_tower(), Draws(0, "pcgrad")
    conflicts = 0
    for step in range(3):
        forward = Forward(tower, rows(_ROWS, seed=step), labels(step))
        vectors = [scales[t] * forward.of_task(t) for t in range(len(TASKS))]
        order = draws.uniform(len(TASKS), len(TASKS)).argsort(1)
        projected = []
        for i, vector in enumerate(vectors):
            changed = vector.clone()
            for j in order[i].tolist():
                if j != i and (product := changed @ vectors[j]) < 0:
                    changed -= product / (vectors[j] @ vectors[j]) * vectors[j]
                    conflicts += 1
            projected.append(changed)
        total = forward.total(balance)
        torch.testing.assert_close(forward.vector(total), torch.stack(projected).sum(0))
    assert conflicts > 3


def test_two_tasks_in_conflict_each_give_up_what_is_against_the_other() -> None:
    vectors = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    order = torch.tensor([[1, 0], [0, 1]])
    weights = projected_weights(vectors @ vectors.T, order)
    # (1, 0) becomes (.5, .5), at a right angle to (-1, 1), which becomes (0, 1).
    torch.testing.assert_close(weights @ vectors, torch.tensor([0.5, 1.5]))
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert projected_weights(agreeing @ agreeing.T, order).tolist() == [1.0, 1.0]
    silent = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert projected_weights(silent @ silent.T, order).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.kind)
def test_a_task_without_labels_in_a_batch_adds_exactly_zero_gradient(config: object) -> None:
    """Whatever its logits are, every other gradient is the same bit for bit."""
    missing = 2
    y = labels()
    y[:, missing] = math.nan
    gradients = []
    for scale in (1.0, 7.0):
        tower, balance = small_tower(), made(config)
        with torch.no_grad():
            of_task = tower.towers.biases[-1]  # type: ignore[union-attr, index]
            of_task[tower.towers.order[missing]] *= scale  # type: ignore[union-attr, index]
        forward = Forward(tower, rows(_ROWS), y)
        for _ in range(2):  # GradNorm's weights move after the first
            total = forward.total(balance)
        leaves = [forward.v, *tower.parameters(), *balance.parameters()]
        found = torch.autograd.grad(total, leaves)
        assert all(part.isfinite().all() for part in found)
        assert all(part.isfinite().all() for part in balance.buffers())
        gradients.append(found)
        names = ["v", *(name for name, _ in tower.named_parameters())]
        for name, gradient in zip(names, found, strict=False):
            if name.startswith("towers."):
                assert (gradient[tower.towers.order[missing]] == 0).all(), name  # type: ignore[union-attr, index]
        if isinstance(config, UncertaintyConfig):
            assert found[-1][missing] == 0
    for left, right in zip(*gradients, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.kind)
def test_parts_of_a_batch_are_balanced_as_the_whole(config: object) -> None:
    """Gradients averaged over ranks, as DDP does, synchronized statistics included."""
    steps, parts = 3, 2
    ranks = Ranks(parts)

    def on_rank(rank: int) -> tuple[list[Tensor], list[Tensor]]:
        mean = ranks.batch_mean(rank)
        batch = GlobalBatch(rank, parts, mean)
        balance: Balance = config.build((1.0,) * len(TASKS), 0, batch).double()  # type: ignore[attr-defined]
        return run(balance, small_tower(mean), rank, parts)

    def run(
        balance: Balance, tower: nn.Module, part: int, of: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        shared, pooled = [], []
        for step in range(steps):
            v, y = rows(_ROWS, seed=step).chunk(of)[part], labels(step).chunk(of)[part]
            forward = Forward(tower, v, y)
            leaves = [forward.v, *tower.parameters(), *balance.parameters()]
            dv, *rest = torch.autograd.grad(forward.total(balance), leaves)
            pooled.append(dv)
            shared.append(torch.cat([part.flatten() for part in rest]))
        return shared, pooled

    whole_shared, whole_pooled = run(made(config), small_tower(), 0, 1)
    results = ranks.run(on_rank)
    for step in range(steps):
        mean = torch.stack([shared[step] for shared, _ in results]).mean(0)
        torch.testing.assert_close(mean, whole_shared[step])
        # A rank's rows have the gradient of the sum over ranks: TorchRec divides the tables'.
        rows_of_all = torch.cat([pooled[step] for _, pooled in results]) / parts
        torch.testing.assert_close(rows_of_all, whole_pooled[step])
