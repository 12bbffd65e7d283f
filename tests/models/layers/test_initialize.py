"""Weights that depend on a seed and a name."""

import pytest
import torch

from models.layers.initialize import draw_key, fill_normal
from tests.models.building import CLICK, FINISH, FOLLOW, LIKE, build, small_home


def filled(names: list[str], seed: int = 0, gain: float = 1.0) -> torch.Tensor:
    weight = torch.empty(len(names), 20, 50)
    fill_normal(weight, names, seed, gain=gain)
    return weight


def test_slices_follow_their_names() -> None:
    weight = filled(["a", "b", "c"])
    assert torch.equal(filled(["c", "a"]), weight[[2, 0]])
    assert not torch.equal(weight[0], weight[1])
    assert not torch.equal(filled(["a"], seed=1)[0], weight[0])


def test_scale_is_that_of_the_fan_in() -> None:
    weight = filled([str(i) for i in range(20)], gain=3.0)
    torch.testing.assert_close(weight.std().item(), 3.0 / 50**0.5, rtol=0.02, atol=0)
    assert abs(weight.mean().item()) < 0.01


def test_values_are_the_same_in_every_process() -> None:
    """Pinned: Python's own hash of a string would differ."""
    assert f"{filled(['a'])[0, 0, 0].item():.4f}" == "-0.2255"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("level2.task_specific.click.0/1", "level2.own.click.0/1"),
        ("feature_gate.level2.task_specific.click.0", "feature_gate.level2.own.click.0"),
        ("task_specific.task_specific.0.0/0", "own.task_specific.0.0/0"),
        ("level2.category.task_specific.click.0", "level2.category.task_specific.click.0"),
        ("level2.gate.task_specific.click", "level2.gate.task_specific.click"),
        ("tower.task_specific.click/0", "tower.task_specific.click/0"),
    ],
)
def test_task_specific_experts_keep_their_first_weights(name: str, key: str) -> None:
    assert draw_key(name) == key


def test_a_further_task_leaves_the_others_their_weights() -> None:
    few, more = (
        build(small_home(), [CLICK, LIKE]),
        build(small_home(), [FOLLOW, LIKE, CLICK, FINISH]),
    )
    for level in ("level1", "level2"):
        a, b = getattr(few, level).experts, getattr(more, level).experts
        for name in a.names:
            weights = [x.layers[0].linear.weight[x.names.index(name)] for x in (a, b)]
            assert torch.equal(*weights), name


def test_deep_towers_keep_the_scale_of_their_input() -> None:
    """Neither vanishing nor exploding without normalization."""
    config = small_home(
        normalization="none", expert_hidden=(256,) * 4, expert_dim=256, tower_hidden=(256,)
    )
    tower = config.build(num_features=256, tasks=[CLICK, LIKE])
    tower.init_weights(0)
    logits = tower(torch.randn(500, 256, generator=torch.Generator().manual_seed(0)))
    assert 0.02 < logits.std() < 5
