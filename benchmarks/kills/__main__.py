"""`python -m benchmarks.kills`: a run that dies 30 times against one that nothing happens to.

A death counts only where it was met in its place, and none may cost a step that was saved. With
the same ranks throughout, the last checkpoints must be equal to the bit: weights, both optimizers,
random states. With `--change-ranks` each start has another number of ranks; sums are
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
from typing import Any, get_args

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from benchmarks.kills.faults import DAMAGING, Fault, How, Place, faults
from benchmarks.kills.job import End, Job
from launchers.local import processes
from pipeline.data.prepare.synthetic import prepare_synthetic

_LOSS = 1e-4
_STEPS = 400
_WORDS = ["--train.batch_size", "240", "--train.epochs", "10", "--train.max_steps", str(_STEPS)]
_WORDS += ["--train.eval_every", "20", "--checkpoint.every", "10", "--checkpoint.keep", "3"]
_WORDS += ["--checkpoint.incremental_every", "5"]


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
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _print(json.dumps({k: v for k, v in found.items() if k != "deaths"}, indent=1))
    return int(not found["passed"])


def marathon(
    disk: Path, kills: int, ranks: int, seed: int, *, change_ranks: bool
) -> dict[str, Any]:
    """Both runs, on `disk`; what happened, and whether all that must hold did."""
    prepare_synthetic(disk / "data", rows=12_000, seed=3)
    # Dropout draws from each rank's own random numbers: other ranks, other draws.
    words = [*_WORDS, "--model.tower.dropout", "0" if change_ranks else "0.1"]
    (disk / "calm").mkdir()
    (disk / "hit").mkdir()
    calm = Job(disk / "data", disk / "calm" / "run", tuple(words))
    hit = Job(disk / "data", disk / "hit" / "run", tuple(words))
    _finish(calm, ranks, resume=False)
    deaths = _die(hit, kills, ranks, seed, change_ranks=change_ranks)
    _finish(hit, ranks, resume=True)
    left, right = _tensors(calm), _tensors(hit)
    unequal = sorted(k for k in left if k not in right or not torch.equal(left[k], right[k]))
    loss = [_loss(job) for job in (calm, hit)]
    counted = [death for death in deaths if death["struck"]]
    wrong = [death["number"] for death in counted if death["wrong"]]
    passed = not wrong and len(counted) == kills and left.keys() == right.keys()
    passed &= abs(loss[0] - loss[1]) <= _LOSS if change_ranks else not unequal
    found = {
        "passed": passed,
        "kills": len(counted),
        "planned but not met": len(deaths) - len(counted),
        "wrong": wrong,
        "by kind": _count(counted),
        "tensors": len(left),
        "unequal tensors": len(unequal),
        "bit-equal": not unequal,
        "log loss": loss,
        "difference of log loss": abs(loss[0] - loss[1]),
        "seconds to die": round(statistics.median(d["seconds"] for d in deaths), 1),
        "deaths": deaths,
    }
    _print(_table(counted))
    _print(f"bit-equal: {'yes' if not unequal else 'no'}; log loss {loss[0]:.8f} and {loss[1]:.8f}")
    return found


def _finish(job: Job, ranks: int, *, resume: bool) -> None:
    end = job.start(ranks, None, resume=resume)
    if end.code or end.valid[-1:] != [_STEPS]:
        raise SystemExit(f"a run that nothing happens to did not end well:\n{end.log}")


def _die(
    job: Job, kills: int, ranks: int, seed: int, *, change_ranks: bool
) -> list[dict[str, Any]]:
    """Until it has died `kills` times in a place where it was to die, and what of each death."""
    dice = random.Random(seed)
    deaths: list[dict[str, Any]] = []
    acknowledged = 0
    for planned in faults(2 * kills, ranks, seed):
        number = sum(death["struck"] for death in deaths) + 1
        if number > kills:
            break
        # Rows are split over the ranks that a run begins with, for good.
        now = dice.choice((1, 2, 4)) if change_ranks and acknowledged else ranks
        fault = Fault(**{**vars(planned), "rank": planned.rank % now})
        end = job.start(now, fault, resume=True)
        newest = max(end.saved, default=0)
        resumed = _resumed(end)
        wrong = []
        if newest < acknowledged:
            wrong.append(f"step {acknowledged} was saved and is lost")
        if resumed not in (None, acknowledged):
            wrong.append(f"step {acknowledged} was saved, and it resumed from {resumed}")
        if end.struck and not end.as_it_should(fault.how):
            wrong.append("the launcher printed something else")
        death = {
            "number": number,
            "how": fault.how,
            "place": fault.place,
            "ranks": now,
            "code": end.code,
            "step": newest,
            "seconds": round(end.seconds, 1),
            "resumed": resumed,
            "struck": end.struck,
            "wrong": wrong,
        }
        deaths.append(death)
        acknowledged = max(end.valid, default=0)
        _print(
            f"{number:>3} {fault.how:>9} in {fault.place:<10} {now} ranks: code {end.code:>4}, "
            f"from step {resumed}, saved up to {newest}, {end.seconds:.0f} s"
            f"{'' if end.struck else ' (not met, does not count)'}"
            f"{' WRONG: ' + '; '.join(wrong) if wrong else ''}"
        )
        # There may be no valid one to damage: then it died as planned, but that is not counted.
        astray = end.code and not end.struck and fault.how not in DAMAGING
        if wrong or astray:
            _print(end.log)
        if astray:
            raise SystemExit("it died of something else")
        if newest == _STEPS:
            raise SystemExit(f"the run ended before it died {kills} times; give it more steps")
    return deaths


def _resumed(end: End) -> int | None:
    """The step that it resumed from; None for a start that died before it printed one."""
    _, found, rest = end.log.partition("resumed after step ")
    return int(rest.split()[0]) if found else None


def _count(deaths: list[dict[str, Any]]) -> dict[str, int]:
    kinds = [f"{death['how']} in {death['place']}" for death in deaths]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _table(deaths: list[dict[str, Any]]) -> str:
    """Deaths by kind (rows) and place."""
    places, kinds = get_args(Place), get_args(How)
    lines = [" " * 9 + "".join(f"{place:>12}" for place in places)]
    for how in kinds:
        at = [sum((d["how"], d["place"]) == (how, place) for d in deaths) for place in places]
        lines.append(f"{how:<9}" + "".join(f"{count or '':>12}" for count in at))
    return "\n".join(lines)


def _tensors(job: Job) -> dict[str, torch.Tensor]:
    """Everything in the last checkpoint, both optimizers' and random states included."""
    last = job.out / "checkpoints" / f"step-{job.valid_steps()[-1]:08d}"
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
    results = json.loads((job.out / "results.json").read_text(encoding="utf-8"))["tasks"]
    return float(statistics.mean(task["log_loss"] for task in results.values()))


@contextmanager
def _disk() -> Iterator[Path]:
    """A small disk of its own, to be filled; needs root."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m", "kills", folder],
            capture_output=True,
            encoding="utf-8",
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
