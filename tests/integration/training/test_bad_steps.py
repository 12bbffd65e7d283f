"""Steps that go wrong on real ranks: rejected, reported, and without a trace in the weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launchers.cli.main import main
from pipeline.config.overrides import configure
from pipeline.data.batch import Batch
from pipeline.data.parquet_source import ParquetSource
from pipeline.faults.batch_file import load_batch
from pipeline.io.errors import UserError
from pipeline.loop.in_flight import InFlight
from pipeline.ranks.world import this_world
from pipeline.train import train
from pipeline.training.step import Loss
from tests.integration.training.runs import tensors
from tests.ranks import run_ranks

_WORDS = ["--train.batch_size", "256", "--train.eval_every", "100", "--data.num_workers", "0"]
_WORDS += ["--checkpoint.keep", "20", "--expert_health.probe_every", "0"]
# Verdicts are read at once for a log line or a checkpoint, else after the next step.
_WORDS += ["--train.log_every", "100", "--train.ema_decay", "0.9"]


def _run(data: Path, out: Path, *words: str) -> Any:
    try:
        fields = ["--data.path", str(data), *_WORDS, *words]
        config, out = configure("debug", None, out, fields, resume=False, must_exist=False)
        return train(config, out, this_world(), resume=False, overwrite=False)
    except UserError as error:
        return str(error)


class _Poison:
    """While open, batch `at` (from 1) of an epoch has, on this rank, `value` in row 3."""

    def __init__(self, at: int, value: float, epoch: int = 0) -> None:
        self._at, self._value, self._whole = at, value, ParquetSource.__iter__
        self._epoch = epoch

    def __enter__(self) -> None:
        whole, at, value, epoch = self._whole, self._at, self._value, self._epoch

        def poisoned(source: ParquetSource) -> Iterator[Batch]:
            for batch in whole(source):
                # Evaluations read the oracle's probabilities besides.
                if source.step == at and source.epoch == epoch and batch.oracle is None:
                    batch.dense[3, 0] = value
                    batch.weights[3] = 1e4
                yield batch

        ParquetSource.__iter__ = poisoned  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        ParquetSource.__iter__ = self._whole  # type: ignore[method-assign]


def policies(rank: int, size: int, data: Path, out: Path) -> dict[str, Any]:
    """Runs with rank 1's batch at fault, under each policy."""
    every = ("--checkpoint.every", "1", "--train.max_steps", "4")
    two = ("--checkpoint.every", "2", "--train.max_steps", "6")
    skip, back = ("--faults.on_nonfinite", "skip"), ("--faults.on_nonfinite", "rollback")
    spike = ("--faults.spike_mad", "50", "--faults.spike_window", "8", "--faults.on_loss_spike")
    late = ("--train.max_steps", "5")
    found = {}
    with _Poison(3 if rank == 1 else 0, torch.inf):
        found["stop"] = _run(data, out / "stop", *late)
        found["skip"] = _run(data, out / "skip", *every, *skip)
        found["late"] = _run(data, out / "late", *late, *skip)
        found["at once"] = _run(data, out / "at once", *late, *skip, "--train.log_every", "1")
        found["limit"] = _run(data, out / "limit", *every, *skip, "--faults.max_skipped", "0")
        found["early"] = _run(data, out / "early", "--train.max_steps", "4", *back)
    with _Poison(4 if rank == 1 else 0, torch.inf):
        found["rollback"] = _run(data, out / "rollback", *two, *back)
    with _Poison(6 if rank == 1 else 0, 1e6):
        found["spike"] = _run(data, out / "spike", "--train.max_steps", "8", *spike, "stop")
    return found


@pytest.fixture(scope="module")
def found(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    out = tmp_path_factory.mktemp("policies")
    return out, run_ranks(policies, 2, synthetic, out)


def _state(run: Path, step: int) -> dict[str, torch.Tensor]:
    """Every tensor of weights and optimizers in a checkpoint, sharded tables included."""
    found = tensors(run / "checkpoints" / f"step-{step:08d}", run)
    parts = ("/model/", "/optimizer/", "/tables/")
    return {name: value for name, value in found.items() if name.startswith(parts)}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_stop_names_rank_feature_and_batch_on_all_ranks(found: tuple[Path, list[Any]]) -> None:
    out, (first, second) = found
    assert first == second
    text = first["stop"]
    assert text.startswith("step 3: loss is not finite on rank 1 (")
    assert "click nan" in text
    assert "values not finite in row 3" in text
    assert "batch: epoch 0, batch 2" in text
    assert [path.name for path in (out / "stop" / "debug").iterdir()] == ["step-00000003-rank1.pt"]


def test_the_kept_batch_loads_again(
    found: tuple[Path, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = found[0] / "stop" / "debug" / "step-00000003-rank1.pt"
    batch, about = load_batch(path)
    assert (about["step"], about["rank"], len(batch.weights)) == (3, 1, 128)
    assert (~torch.isfinite(batch.dense)).nonzero().tolist() == [[3, 0]]
    assert main(["debug", "batch", str(path)]) == 0
    assert "1 rows with values not finite" in capsys.readouterr().out
    assert main(["debug", "batch", str(path), "--row", "128"]) == 2


def test_a_skipped_batch_leaves_no_trace(found: tuple[Path, list[Any]]) -> None:
    out, (first, second) = found
    assert (first["skip"], second["skip"]) == (0, 0)
    before, at, after = (_state(out / "skip", step) for step in (2, 3, 4))
    assert _same(before, at)
    assert not _same(at, after)


def test_a_verdict_read_late_leaves_no_trace_either(found: tuple[Path, list[Any]]) -> None:
    out, (first, second) = found
    assert [one[name] for one in (first, second) for name in ("late", "at once")] == [0] * 4
    late, at_once = (
        tensors(out / name / "checkpoints" / "step-00000005", out / name)
        for name in ("late", "at once")
    )
    assert late.keys() == at_once.keys()
    assert any("/window/" in name for name in late)
    assert [name for name in late if not torch.equal(late[name], at_once[name])] == []


def test_a_rollback_takes_the_checkpoints_weights(found: tuple[Path, list[Any]]) -> None:
    """Step 3 was trained and undone, the batch of step 4 was bad."""
    out, (first, second) = found
    assert (first["rollback"], second["rollback"]) == (0, 0)
    before, at, after = (_state(out / "rollback", step) for step in (2, 4, 6))
    assert _same(before, at)
    assert not _same(at, after)


def over_an_epochs_end(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    """Runs whose second epoch begins with tables anew and a batch at fault on rank 1."""
    words = ["--train.batch_size", "640", "--train.epochs", "2", "--sparse.reset_min_rows", "140"]
    words += ["--train.max_steps", "12"]
    with _Poison(1 if rank == 1 else 0, torch.inf, epoch=1):
        return [
            _run(data, out / policy, *words, "--faults.on_nonfinite", policy)
            for policy in ("skip", "rollback")
        ]


def test_a_rollback_over_an_epochs_end_is_to_tables_that_were_begun_anew(
    synthetic: Path, tmp_path: Path
) -> None:
    """The last checkpoint is that of the epoch's end. So nothing is lost: as if skipped."""
    assert run_ranks(over_an_epochs_end, 2, synthetic, tmp_path) == [[0, 0], [0, 0]]
    end, skipped, back = (
        _state(tmp_path / name, step)
        for name, step in (("skip", 10), ("skip", 12), ("rollback", 12))
    )
    assert _same(skipped, back)
    assert not _same(end, back)


def test_limits_end_a_run(found: tuple[Path, list[Any]]) -> None:
    result = found[1][0]
    assert "1 batches skipped, more than faults.max_skipped 0" in result["limit"]
    assert "no checkpoint to roll back to" in result["early"]


def test_a_spike_is_named_with_its_feature(found: tuple[Path, list[Any]]) -> None:
    first, second = found[1]
    assert first["spike"] == second["spike"]
    assert first["spike"].startswith("step 6: loss ")
    assert "is a spike" in first["spike"]
    assert "on rank 1" in first["spike"]
    assert "in row 3" in first["spike"]


def perturbed(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    """Comparisons of replicas: of a sound run, and of one where rank 1 goes astray."""
    words = ("--train.max_steps", "4", "--debug.check_replica_consistency", "2", "--sharding.types")
    results = [_run(data, out / "sound", *words, "data_parallel")]
    whole = InFlight.after_step

    def after(flight: InFlight, *, stop: bool, save: bool) -> None:
        whole(flight, stop=stop, save=save)
        if rank == 1:
            with torch.no_grad():
                _weight().view(-1)[5] += 0.25

    InFlight.after_step = after  # type: ignore[method-assign,assignment]
    results.append(_run(data, out / "astray", *words, "data_parallel"))
    InFlight.after_step = whole  # type: ignore[method-assign]
    return results


def _weight() -> torch.Tensor:
    """The largest of the tower's weights that is alive in this process."""
    import gc

    from models.ranker import Head

    gc.collect()  # the Head of the previous run is in a reference cycle
    heads = [found for found in gc.get_objects() if type(found) is Head]
    return max(heads[-1].tower.parameters(), key=lambda p: p.numel())


def test_a_replica_gone_astray_stops_the_run(synthetic: Path, tmp_path: Path) -> None:
    first, second = run_ranks(perturbed, 2, synthetic, tmp_path)
    assert first == second
    assert first[0] == 0
    assert first[1].startswith("step 2: ")
    assert "differs between ranks: rank 1 from rank 0, first at [" in first[1]


def overflow(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run where in step 3 rank 1's gradient of a weight of the tower is not finite, alone."""
    whole, steps = InFlight.after_step, iter(range(1, 100))

    def after(flight: InFlight, *, stop: bool, save: bool) -> None:
        whole(flight, stop=stop, save=save)
        if next(steps) == 2 and rank == 1:
            once = iter([torch.inf])
            _weight().register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: gradient * next(once, 1.0)
            )

    InFlight.after_step = after  # type: ignore[method-assign,assignment]
    words = ("--checkpoint.every", "1", "--train.max_steps", "4", "--faults.on_nonfinite", "skip")
    return _run(data, out / "overflow", *words, "--sharding.types", "table_wise")


def test_a_tower_that_overflows_alone_does_not_learn_from_that_batch(
    synthetic: Path, tmp_path: Path
) -> None:
    """The tables have: their update came earlier in the same backward."""
    assert run_ranks(overflow, 2, synthetic, tmp_path) == [0, 0]
    states = [_state(tmp_path / "overflow", step) for step in (2, 3, 4)]
    tables = {n for n in states[0] if n.startswith("/tables/") or "embedding_bags" in n}
    tower = states[0].keys() - tables
    assert len(tower) > 20
    changed = [{n for n in a if not torch.equal(a[n], b[n])} for a, b in itertools.pairwise(states)]
    assert changed[0] & tables
    assert not changed[0] & tower
    assert changed[1] & tower
    assert all(bool(torch.isfinite(value).all()) for value in states[2].values())


def twice(rank: int, size: int, data: Path, out: Path) -> list[Any]:
    words = ["--train.max_steps", "4", "--train.deterministic", "true"]
    words += ["--checkpoint.every", "4", "--model.tower.dropout", "0.1"]
    return [_run(data, out / name, *words) for name in ("a", "b")]


def test_deterministic_runs_are_bit_equal(synthetic: Path, tmp_path: Path) -> None:
    assert run_ranks(twice, 2, synthetic, tmp_path) == [[0, 0], [0, 0]]
    assert _same(_state(tmp_path / "a", 4), _state(tmp_path / "b", 4))


def out_of_memory(rank: int, size: int, data: Path, out: Path) -> Any:
    """A run whose second step asks the real allocator for more than there is."""
    whole = Loss.forward
    steps = iter(range(100))

    def forward(loss: Loss, *words: Any) -> Any:
        if next(steps) == 1:
            torch.empty(1 << 50)
        return whole(loss, *words)

    Loss.forward = forward  # type: ignore[method-assign,assignment]
    return _run(data, out, "--train.max_steps", "4")


def test_out_of_memory_keeps_the_batch(synthetic: Path, tmp_path: Path) -> None:
    (text,) = run_ranks(out_of_memory, 1, synthetic, tmp_path / "run")
    assert text.startswith("step 2: out of memory on rank 0 (")
    assert "batch: epoch 0, batch 1" in text
    batch, about = load_batch(tmp_path / "run" / "debug" / "step-00000002-rank0.pt")
    assert len(batch.weights) == 256
    assert "out of memory" in about["why"]
