"""What towers cost, and towers that cost the same."""

import itertools
from typing import Literal, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.layers import linear
from models.layers.fused import chunks
from models.probe import probing
from models.towers.config import (
    AdattConfig,
    HomeConfig,
    MmoeConfig,
    SharedBottomConfig,
    SmesConfig,
    TowerConfig,
)
from models.towers.cost import MULTIPLE, Cost, cost, matched, scaled
from models.towers.smes import SMES
from models.towers.variants import VARIANTS, variant
from tests.models.building import TASKS, build, perturb, rows

By = Literal["params", "flops"]
F = 150
BASE = HomeConfig(
    expert_hidden=(96, 80),
    expert_dim=64,
    tower_hidden=(32,),
    normalization="layer",
    num_task_specific_experts=2,
)
UNUSUAL: dict[str, TowerConfig] = {
    "no hidden layers": HomeConfig(expert_hidden=(), tower_hidden=()),
    "feature-gate per group": HomeConfig(feature_gate_per="group", num_masks=3),
    "three levels": AdattConfig(num_levels=3, num_task_specific_experts=2, num_shared_experts=3),
    "bottom of odd widths": SharedBottomConfig(expert_hidden=(33,), expert_dim=17),
}
KINDS: dict[str, TowerConfig] = {
    kind.__name__: kind() for kind in get_args(get_args(TowerConfig)[0])
}
CONFIGS = {name: variant(name, BASE) for name in VARIANTS} | UNUSUAL | KINDS


def of(cost_: Cost, by: By) -> int:
    return cost_.parameters if by == "params" else cost_.flops


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_cost_is_what_torch_counts(config: TowerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a training step on real tensors, in the form that computes nothing twice or on padding."""
    monkeypatch.setattr(chunks, "is_wanted", lambda: False)
    monkeypatch.setattr(linear, "ALIGNED", 1)
    tower = build(config, num_features=F)
    with FlopCounterMode(display=False) as counter:
        tower(rows(3, F).requires_grad_()).sum().backward()
    parameters = sum(parameter.numel() for parameter in tower.parameters())
    flops, rest = divmod(counter.get_total_flops(), 3)
    if isinstance(tower, SMES):  # all experts are computed, and masked
        num_experts = len(tower.routed.experts.names)
        flops -= 6 * (num_experts - tower.routed.most_experts) * weights_of_an_expert(tower)
    assert cost(config, F, TASKS) == Cost(parameters, flops)
    assert rest == 0


def weights_of_an_expert(tower: SMES) -> int:
    sizes = (F, *tower.config.expert_hidden, tower.config.expert_dim)
    return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("num_experts", "shared", "own", "most"), [(16, 2, 1, 7), (6, 2, 1, 6), (16, 4, 0, 4)]
)
def test_smes_is_charged_for_the_experts_that_a_row_can_run(
    num_experts: int, shared: int, own: int, most: int
) -> None:
    config = SmesConfig(num_experts=num_experts, shared_top_k=shared, task_top_k=own)
    tower = build(config, num_features=F)
    assert isinstance(tower, SMES)
    mixing = len(TASKS) * num_experts * (F + config.expert_dim)
    towers = len(TASKS) * (config.expert_dim * 64 + 64)
    products = most * weights_of_an_expert(tower) + mixing + towers
    assert cost(config, F, TASKS).flops == 6 * products
    # Of many rows with weights of any size, none runs more.
    with probing(perturb(tower)) as probe:
        tower(100 * rows(300, F))
    running = torch.stack([*probe.runs.values()]).sum(0)
    assert running.max() <= most
    assert running.min() >= shared + own


def test_cost_of_a_bottom_is_that_of_its_matrices() -> None:
    config = SharedBottomConfig(expert_hidden=(8,), expert_dim=6, tower_hidden=(4,))
    matrices = 10 * 8 + 8 * 6 + len(TASKS) * (6 * 4 + 4)
    biases = 8 + 6 + len(TASKS) * (4 + 1)
    assert cost(config, 10, TASKS) == Cost(parameters=matrices + biases, flops=6 * matrices)


@given(factors=st.tuples(st.floats(0, 4), st.floats(0, 4)), name=st.sampled_from([*VARIANTS]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cost_grows_with_the_factor(factors: tuple[float, float], name: str) -> None:
    small, large = (scaled(CONFIGS[name], factor) for factor in sorted(factors))
    less, more = cost(small, F, TASKS), cost(large, F, TASKS)
    assert less.parameters <= more.parameters
    assert less.flops <= more.flops
    for config in (small, large):
        for width in (*config.expert_hidden, config.expert_dim, *config.tower_hidden):
            assert width >= MULTIPLE
            assert width % MULTIPLE == 0


@pytest.mark.parametrize("by", get_args(By))
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_cost_what_home_costs(name: str, by: By) -> None:
    target = cost(BASE, F, TASKS)
    config = matched(CONFIGS[name], target, by, F, TASKS)
    rel = 0.1 if name == "rankmixer" else 0.04  # its width is a multiple of its tokens
    assert of(cost(config, F, TASKS), by) == pytest.approx(of(target, by), rel=rel)
    assert matched(CONFIGS[name], target, by, F, TASKS) == config
    # Nothing but widths has changed.
    widths = {"expert_hidden", "expert_dim", "tower_hidden"}
    assert config.model_dump(exclude=widths) == CONFIGS[name].model_dump(exclude=widths)


@pytest.mark.parametrize("by", get_args(By))
@given(factor=st.floats(0.1, 3), name=st.sampled_from([*VARIANTS]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_scaled_tower_is_found_again(factor: float, name: str, by: By) -> None:
    target = cost(scaled(CONFIGS[name], factor), F, TASKS)
    config = matched(CONFIGS[name], target, by, F, TASKS)
    assert of(cost(config, F, TASKS), by) == of(target, by)


@pytest.mark.parametrize("by", get_args(By))
@pytest.mark.parametrize("name", ["mmoe*", "adatt", "home-no_feature_gates"])
def test_no_other_factor_comes_nearer(name: str, by: By) -> None:
    aim = of(target := cost(BASE, F, TASKS), by)
    found = abs(of(cost(matched(CONFIGS[name], target, by, F, TASKS), F, TASKS), by) - aim)
    others = {scaled(CONFIGS[name], 0.02 * i) for i in range(100)}
    assert found <= min(abs(of(cost(other, F, TASKS), by) - aim) for other in others)


def test_widths_that_fit_stay() -> None:
    assert matched(BASE, cost(BASE, F, TASKS), "params", F, TASKS) == BASE


@pytest.mark.parametrize("by", get_args(By))
def test_costs_out_of_reach_are_rejected(by: By) -> None:
    """HoME's feature-gates have a size of their own, whatever its widths."""
    small = cost(SharedBottomConfig(expert_hidden=(8,), expert_dim=4), F, TASKS)
    with pytest.raises(ValueError, match="home: no widths are within 20%") as error:
        matched(BASE, small, by, F, TASKS)
    least = of(cost(scaled(BASE, 0), F, TASKS), by)
    assert f"{of(small, by):,}" in str(error.value)
    assert f"the closest have {least:,}" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_allocated() -> None:
    """A tower of 1e10 weights would not fit."""
    huge = cost(MmoeConfig(expert_hidden=(65_536, 65_536)), 10, TASKS)
    assert huge.parameters > 1e10
    assert torch.get_default_device().type == "cpu"
