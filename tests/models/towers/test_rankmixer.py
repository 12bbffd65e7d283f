"""RankMixer's tokens and heads."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.tasks import Task
from models.towers.config import RankMixerConfig, SharedBottomConfig
from models.towers.rankmixer import RankMixer, mixed
from models.towers.variants import variant
from tests.models.building import TASKS, build, perturb, rows
from tests.models.reference.build import reference
from tests.models.reference.parts import gradient


def test_mixing_gives_each_token_a_head_of_all() -> None:
    x = torch.tensor([[[0, 1, 2, 3, 4, 5]], [[10, 11, 12, 13, 14, 15]], [[20, 21, 22, 23, 24, 25]]])
    assert mixed(x).tolist() == [
        [[0, 1, 10, 11, 20, 21]],
        [[2, 3, 12, 13, 22, 23]],
        [[4, 5, 14, 15, 24, 25]],
    ]
    torch.testing.assert_close(mixed(mixed(x)), x)  # a transposition


@given(
    features=st.integers(1, 12),
    tokens=st.integers(1, 4),
    head=st.integers(1, 3),
    layers=st.integers(1, 3),
    hidden=st.lists(st.integers(1, 5), max_size=2),
    categories=st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sizes_equal_the_naive_form(
    features: int, tokens: int, head: int, layers: int, hidden: list[int], categories: list[int]
) -> None:
    """Fewer features than tokens, too: the last ones are of padding alone."""
    tasks = [Task(name=str(i), category=str(c)) for i, c in enumerate(categories)]
    config = RankMixerConfig(
        num_tokens=tokens,
        expert_dim=tokens * head,
        num_layers=layers,
        expert_hidden=tuple(hidden),
        tower_hidden=(3,),
    )
    tower = perturb(build(config, tasks, features))
    naive = reference(tower, tasks)
    logits, expected = tower(rows(6, features)), naive(rows(6, features))
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for source, index, parameter in naive.links:
        assert source.grad is not None
        torch.testing.assert_close(source.grad[index], gradient(parameter))


def test_a_task_reads_the_mean_of_all_tokens_at_first() -> None:
    tower = build(RankMixerConfig(num_tokens=2, expert_dim=4, tower_hidden=()))
    assert isinstance(tower, RankMixer)
    seen = []
    tower.layers[-1].register_forward_hook(lambda *call: seen.append(call[2]))
    logits = tower(rows(5))
    expected = tower.towers(seen[0].mean(0).expand(len(TASKS), -1, -1))
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(("dim", "tokens", "taken"), [(30, 8, 32), (3, 4, 4)])
def test_a_width_that_does_not_split_into_heads(dim: int, tokens: int, taken: int) -> None:
    with pytest.raises(ValidationError, match=f"no multiple of num_tokens {tokens}; take {taken}"):
        RankMixerConfig(expert_dim=dim, num_tokens=tokens)


def test_a_study_rounds_the_width_up() -> None:
    base = SharedBottomConfig(expert_dim=30, expert_hidden=(9,), tower_hidden=(5,), dropout=0.1)
    config = variant("rankmixer", base)
    assert config == RankMixerConfig(
        expert_dim=32, expert_hidden=(9,), tower_hidden=(5,), dropout=0.1
    )
    own = RankMixerConfig(expert_dim=30, num_tokens=6, num_layers=3)
    assert variant("rankmixer", own) == own
