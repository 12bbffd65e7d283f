"""`python -m benchmarks.kills`: a run that dies 30 times against one that nothing happens to.

With the same ranks throughout, the last checkpoints must be equal to the bit: weights, both
optimizers, random states. With `--change-ranks` each start has another number of ranks; sums are
then taken in another order, and the loss must agree to 1e-4.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save  # noqa: TID251 (reads)

from benchmarks.kills.faults import DAMAGING, Fault, faults
from benchmarks.kills.job import End, Job
from launchers import processes
from pipeline.data.synthetic import prepare_synthetic

_LOSS = 1e-4
_STEPS = 300
_WORDS = ["--train.batch_size", "240", "--train.epochs", "8", "--train.max_steps", str(_STEPS)]
_WORDS += ["--train.eval_every", "40", "--checkpoint.every", "10", "--checkpoint.keep", "3"]
_WORDS += ["--checkpoint.delta_every", "5"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how often it dies")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of the undisturbed run")
    parser.add_argument("--change-ranks", action="store_true", help="1 to 4 ranks at each start")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--json", type=Path, help="write what happened here")
    args = parser.parse_args(argv)
    processes.adopt_orphans()  # whatever a launcher that is killed leaves can be killed, too
    with _disk() as disk:
        found = marathon(disk, args.kills, args.ranks, args.seed, change_ranks=args.change_ranks)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    _print(json.dumps({k: v for k, v in found.items() if k != "deaths"}, indent=1))
    return int(not found["held"])


def marathon(
    disk: Path, kills: int, ranks: int, seed: int, *, change_ranks: bool
) -> dict[str, Any]:
    """Both runs, on `disk`; what happened, and whether what must hold held."""
    prepare_synthetic(disk / "data", rows=12_000, seed=3)
    # Dropout draws from each rank's own random numbers: other ranks, other draws.
    words = [*_WORDS, "--model.tower.dropout", "0" if change_ranks else "0.1"]
    (disk / "calm").mkdir()
    (disk / "hit").mkdir()
    calm = Job(disk / "data", disk / "calm" / "run", tuple(words))
    hit = Job(disk / "data", disk / "hit" / "run", tuple(words))
    end = calm.start(ranks, None, resume=False)
    assert end.code == 0, end.log
    dice = random.Random(seed)
    deaths: list[dict[str, Any]] = []
    acknowledged = 0
    for planned in faults(2 * kills, ranks, seed):
        if (number := sum(death["struck"] for death in deaths) + 1) > kills:
            break
        now = dice.choice((1, 2, 4)) if change_ranks else ranks
        fault = Fault(**{**vars(planned), "rank": planned.rank % now})
        end = hit.start(now, fault, resume=True)
        newest = end.steps[-1] if end.steps else 0
        death = {
            "number": number,
            "how": fault.how,
            "place": fault.place,
            "ranks": now,
            "code": end.code,
            "step": newest,
            "seconds": round(end.seconds, 1),
            "resumed": _resumed(end),
            "lost": newest < acknowledged,
            "struck": end.struck,
        }
        acknowledged = newest
        if fault.how in DAMAGING and end.struck:
            acknowledged = end.steps[-2]  # that one is not whole any more
        deaths.append(death)
        _print(
            f"{number:>3} {fault.how:>9} in {fault.place:<10} {now} ranks: code {end.code:>4}, "
            f"from step {death['resumed']}, saved up to {newest}, {end.seconds:.0f} s"
            f"{'' if end.struck else ' (not met, does not count)'}"
        )
        if end.code == 0 and end.steps[-1:] == [_STEPS]:
            raise SystemExit(f"the run ended before it died {kills} times; give it more steps")
    end = hit.start(ranks, None, resume=True)
    assert end.code == 0, end.log
    left, right = _tensors(calm), _tensors(hit)
    unequal = sorted(k for k in left if k not in right or not torch.equal(left[k], right[k]))
    loss = [_loss(job) for job in (calm, hit)]
    held = not any(death["lost"] for death in deaths) and left.keys() == right.keys()
    held &= sum(death["struck"] for death in deaths) == kills
    held &= abs(loss[0] - loss[1]) <= _LOSS if change_ranks else not unequal
    return {
        "held": held,
        "kills": sum(death["struck"] for death in deaths),
        "by kind": _count(deaths),
        "tensors": len(left),
        "unequal tensors": len(unequal),
        "log loss": loss,
        "seconds to die": round(statistics.median(d["seconds"] for d in deaths), 1),
        "deaths": deaths,
    }


def _resumed(end: End) -> int:
    _, found, rest = end.log.partition("resumed after step ")
    return int(rest.split(",")[0]) if found else 0


def _count(deaths: list[dict[str, Any]]) -> dict[str, int]:
    kinds = [f"{death['how']} in {death['place']}" for death in deaths if death["struck"]]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _tensors(job: Job) -> dict[str, torch.Tensor]:
    """Everything in the last checkpoint, both optimizers' and random states included."""
    last = job.out / "checkpoints" / f"step-{job.saved()[-1]:08d}"
    whole = job.out.parent / "whole.pt"
    dcp_to_torch_save(last, whole)
    found: dict[str, torch.Tensor] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                collect(f"{name}/{key}", part)

    collect("", torch.load(whole, weights_only=False))
    whole.unlink()
    return found


def _loss(job: Job) -> float:
    results = json.loads((job.out / "results.json").read_text())["tasks"]
    return float(statistics.mean(task["log_loss"] for task in results.values()))


@contextmanager
def _disk() -> Iterator[Path]:
    """A small disk of its own, to be filled; needs root."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m", "kills", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"a disk of its own, to fill it, needs root: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run(["umount", folder], check=False)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
