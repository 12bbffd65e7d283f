"""Attention equals a loop over rows and events, and its first weights are their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from models.layers.attention import Attention
from models.layers.config import AttentionConfig

_D = 4
_EVENTS = {"click": {"videos": "video", "authors": "author"}, "like": {"liked": "video"}}
_LENGTHS = {"videos": [3, 0, 1, 5], "liked": [0, 2, 0, 1]}


def build(events: dict[str, dict[str, str]] = _EVENTS, seed: int = 0) -> Attention:
    module = AttentionConfig(events=events, hidden=6).build(_D).double()
    module.init_weights(seed)
    return module


def inputs(lengths: dict[str, list[int]] = _LENGTHS) -> tuple[dict[str, Tensor], ...]:
    """Rows, lengths and candidates of a batch; weights small and large."""
    random = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=random, dtype=torch.float64)
        return drawn.requires_grad_()

    lengths = {**lengths, "authors": lengths["videos"]}
    rows = {name: normal(sum(counts), _D) for name, counts in lengths.items()}
    num_rows = len(lengths["videos"])
    candidates = {name: normal(num_rows, _D) for name in ("video", "author")}
    return rows, {name: torch.tensor(counts) for name, counts in lengths.items()}, candidates


def reference(module: Attention, rows: Any, lengths: Any, candidates: Any) -> Tensor:
    """Row by row, event by event."""
    out = []
    for row in range(len(candidates["video"])):
        parts = []
        for net, pairs in zip(module.nets, module.events.values(), strict=True):
            q = torch.cat([candidates[name][row] for name in pairs.values()])
            scores, keys = [torch.zeros((), dtype=torch.float64)], [torch.zeros_like(q)]
            for event in range(int(lengths[next(iter(pairs))][row])):
                k = torch.cat(
                    [rows[name][int(lengths[name][:row].sum()) + event] for name in pairs]
                )
                scores.append(net(torch.cat([k, q, q * k]))[0])
                keys.append(k)
            weights = torch.softmax(torch.stack(scores), 0)
            pooled = (weights[:, None] * torch.stack(keys)).sum(0)
            parts += [pooled, q * pooled]
        out.append(torch.cat(parts))
    return torch.stack(out)


@pytest.mark.parametrize(
    "lengths",
    [
        _LENGTHS,
        {"videos": [1, 1, 1], "liked": [1, 1, 1]},
        {"videos": [0, 0], "liked": [0, 0]},
        {"videos": [30], "liked": [0]},
    ],
)
def test_outputs_and_gradients_equal_a_loop(lengths: dict[str, list[int]]) -> None:
    module = build()
    rows, counts, candidates = inputs(lengths)
    leaves = [*rows.values(), *candidates.values(), *module.parameters()]
    found = module(rows, counts, candidates)
    wanted = reference(module, rows, counts, candidates)
    assert found.shape == (len(lengths["videos"]), module.num_features)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    ours = torch.autograd.grad((found * weights).sum(), leaves, materialize_grads=True)
    theirs = torch.autograd.grad(
        (wanted * weights).sum(), leaves, materialize_grads=True, allow_unused=True
    )
    torch.testing.assert_close(ours, theirs)


def test_an_empty_history_is_zero_and_other_rows_do_not_matter() -> None:
    module = build()
    rows, counts, candidates = inputs()
    found = module(rows, counts, candidates)
    click = 4 * _D  # two histories, pooled and times the candidate
    assert not found[1, :click].any()
    assert found[0, :click].all()
    alone = {"videos": rows["videos"][:3], "authors": rows["authors"][:3], "liked": rows["liked"]}
    first = module(
        {**alone, "liked": rows["liked"][:0]},
        {name: value[:1] for name, value in counts.items()},
        {name: value[:1] for name, value in candidates.items()},
    )
    torch.testing.assert_close(first, found[:1])


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_extreme_scores_are_all_or_nothing(size: float) -> None:
    module = build()
    with torch.no_grad():
        for event in range(len(_EVENTS)):
            module.get_parameter(f"nets.{event}.2.weight").zero_()
            module.get_parameter(f"nets.{event}.2.bias").fill_(size)
    rows, counts, candidates = inputs()
    found = module(rows, counts, candidates)[0, :_D]
    mean = rows["videos"][:3].mean(0)
    torch.testing.assert_close(found, mean if size > 0 else torch.zeros_like(mean))


def test_first_weights_depend_on_seed_and_event_alone() -> None:
    both, one, other = build(), build({"like": _EVENTS["like"]}), build(seed=1)
    like = both.get_parameter("nets.1.0.weight")
    assert torch.equal(like, one.get_parameter("nets.0.0.weight"))
    assert not torch.equal(like, other.get_parameter("nets.1.0.weight"))
    click = both.get_parameter("nets.0.2.weight")
    assert not torch.equal(click, both.get_parameter("nets.1.2.weight"))


def test_an_event_without_history_is_rejected() -> None:
    with pytest.raises(ValidationError, match="event 'click' has no history"):
        AttentionConfig(events={"click": {}})
