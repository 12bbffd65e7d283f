"""Means over all rows, however they come in batches and on ranks."""

import json
from typing import Any

import pytest
import torch

from models.probe import Probe
from pipeline.expert_health.diagnosis import diagnose
from pipeline.expert_health.health import ExpertHealth
from tests.ranks import run_ranks


def outputs(rows: slice) -> Probe:
    """Two experts, one of them ReLU's; a task that mixes both, a self-gate on one."""
    generator = torch.Generator().manual_seed(1)
    wide = torch.randn(90, 8, generator=generator) * 3 + 1
    gate = torch.rand(90, generator=generator)
    return Probe(
        experts={"meta.shared.0": wide[rows], "meta.watch.0": wide.relu()[rows]},
        gates={"click": {"meta.shared.0": gate[rows], "meta.watch.0": 1 - gate[rows]}},
        self_gates={"click": {"meta.watch.0": gate[rows]}},
    )


def health(*parts: slice) -> dict[str, Any]:
    adder = ExpertHealth()
    for rows in parts:
        adder.update(outputs(rows))
    return adder.compute()


def health_of_a_rank(rank: int, world_size: int) -> dict[str, Any]:
    return (
        health(slice(0, 20), slice(20, 60)) if rank == 0 else health(slice(60, 61), slice(61, 90))
    )


def flat(value: Any) -> list[float]:
    """The numbers of a tree of dicts, in order."""
    if not isinstance(value, dict):
        return [value]
    return [leaf for part in value.values() for leaf in flat(part)]


def test_metrics_are_those_of_all_rows() -> None:
    probe = outputs(slice(None))
    result = health(slice(0, 7), slice(7, 90))
    for name, out in probe.experts.items():
        assert result["experts"][name] == pytest.approx(
            {
                "mean": float(out.mean()),
                "deviation": float(out.std(correction=0)),
                "row_deviation": float(out.var(0, correction=0).mean().sqrt()),
                "zero_fraction": float((out == 0).float().mean()),
            },
            rel=1e-5,
        )
    weights = result["gates"]["click"]
    assert weights["meta.shared.0"] == pytest.approx(
        float(probe.gates["click"]["meta.shared.0"].mean())
    )
    assert sum(weights.values()) == pytest.approx(1)
    assert result["self_gates"]["click"] == {
        "meta.watch.0": pytest.approx(weights["meta.shared.0"])
    }
    assert result["meta_gates"] == {}


def test_ranks_agree_with_one_process() -> None:
    first, second = run_ranks(health_of_a_rank, 2)
    assert first == second
    expected = health(slice(None))
    assert flat(first) == pytest.approx(flat(expected))
    assert json.loads(json.dumps(first)).keys() == expected.keys()


def test_a_constant_expert_has_no_deviation() -> None:
    adder = ExpertHealth()
    adder.update(Probe(experts={"expert.0": torch.full((3, 4), 0.1)}))
    assert adder.compute()["experts"]["expert.0"] == {
        "mean": pytest.approx(0.1),
        "deviation": pytest.approx(0, abs=1e-8),
        "row_deviation": pytest.approx(0, abs=1e-8),
        "zero_fraction": 0.0,
    }


def test_an_expert_that_says_the_same_of_every_row_has_no_row_deviation() -> None:
    adder = ExpertHealth()
    adder.update(Probe(experts={"expert.0": torch.tensor([[1.0, 5.0]]).expand(6, 2)}))
    metrics = adder.compute()["experts"]["expert.0"]
    assert metrics["deviation"] == pytest.approx(2)
    assert metrics["row_deviation"] == pytest.approx(0, abs=1e-7)


def test_metrics_that_overflow_are_none_in_json() -> None:
    probe = outputs(slice(None))
    probe.experts["meta.watch.0"] = torch.full((90, 8), torch.nan)
    probe.gates["click"]["meta.watch.0"] = torch.full((90,), torch.inf)
    adder = ExpertHealth()
    adder.update(probe)
    result = adder.compute()
    text = json.dumps(result | {"diagnosis": [v.text for v in diagnose(result)]}, allow_nan=False)
    assert "meta.watch.0: its outputs are not finite" in text
    assert result["experts"]["meta.watch.0"]["mean"] is None
    assert result["gates"]["click"]["meta.watch.0"] is None


def sparse(rows: slice) -> Probe:
    """Expert 0 of every row, 1 of the first half, 2 of none; outputs of others are noise."""
    probe = outputs(slice(None))
    wide = probe.experts["meta.shared.0"]
    half = torch.arange(90) < 45
    runs = {"expert.0": half | True, "expert.1": half, "expert.2": half & False}
    noise = torch.full((90, 8), torch.inf)
    out = {e: torch.where(run[:, None], wide, noise) for e, run in runs.items()}
    shares = {"expert.0": torch.where(half, 0.25, 1.0), "expert.1": torch.where(half, 0.75, 0.0)}
    gate = {e: weight[rows] for e, weight in (shares | {"expert.2": torch.zeros(90)}).items()}
    return Probe(
        experts={e: values[rows] for e, values in out.items()},
        runs={e: run[rows] for e, run in runs.items()},
        gates={"click": gate, "like": gate},
    )


def sparse_health(rank: int, world_size: int) -> dict[str, Any]:
    adder = ExpertHealth()
    for rows in (slice(0, 20), slice(20, 60)) if rank == 0 else (slice(60, 61), slice(61, 90)):
        adder.update(sparse(rows))
    return adder.compute()


def test_metrics_of_a_sparse_tower_are_those_of_the_rows_that_run_the_expert() -> None:
    first, second = run_ranks(sparse_health, 2)
    assert first == second
    probe = sparse(slice(None))
    for name, load, weight in (("expert.0", 1.0, 0.625), ("expert.1", 0.5, 0.375)):
        out = probe.experts[name][probe.runs[name]]
        assert first["experts"][name] == pytest.approx(
            {
                "mean": float(out.mean()),
                "deviation": float(out.std(correction=0)),
                "row_deviation": float(out.var(0, correction=0).mean().sqrt()),
                "zero_fraction": float((out == 0).float().mean()),
                "load": load,
                "weight": weight,
            },
            rel=1e-5,
        )
    names = ("mean", "deviation", "row_deviation", "zero_fraction")
    assert first["experts"]["expert.2"] == dict.fromkeys(names) | {"load": 0.0, "weight": 0.0}
    assert "expert.2: dead, no row runs it" in diagnose(first)[0].text


def test_a_tower_without_experts_has_empty_parts() -> None:
    assert flat(health()) == []
    adder = ExpertHealth()
    adder.update(Probe())
    assert flat(adder.compute()) == []
