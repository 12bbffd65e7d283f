"""Implements `homerec plan measure` and `calibrate`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launchers.cli.plan.light_import import light_import

with light_import():
    from embeddings.planner.calibration.observed import Fit
    from embeddings.planner.inputs.cluster import Cluster, load_cluster
    from embeddings.planner.inputs.cluster_file import cluster_yaml, rounded
    from embeddings.planner.inputs.torchrec_log import torchrec_silenced
    from embeddings.planner.plans.fixed_plan import repriced
    from embeddings.planner.plans.plan_file import PlanFile, load_plan
    from launchers.cli.plan.measured_tables import fits_view, measured_json, measured_view
    from launchers.cli.plan.options import RepeatOptions
    from launchers.cli.plan.progress import ProgressPrinter
    from launchers.cli.plan.user_errors import check_folder, user_errors
    from launchers.local.console import open_console
    from launchers.local.local_ranks import run_ranks
    from pipeline.io.console import print_line
    from pipeline.io.errors import UserError
    from pipeline.io.files import write_json, write_text
    from pipeline.planning.calibrate import calibrate_here, check_shape, measure_all
    from pipeline.planning.measure import Measured, combine
    from pipeline.ranks.machine import machine
    from pipeline.ranks.world import World, open_world


def measure(
    paths: Sequence[Path], cluster_name: str | None, out: Path | None, repeat: RepeatOptions
) -> int:
    """Run plans on their ranks; print predicted and measured times."""
    with user_errors():
        check_folder(out)
        files = [load_plan(path) for path in paths]
        for path, file in zip(paths, files, strict=True):
            _same_shape(path, file, paths[0], files[0])
        if cluster_name:
            cluster = load_cluster(cluster_name)
            with torchrec_silenced():
                files = [repriced(file, cluster) for file in files]
        found = _on_ranks(_measure, files[0].cluster, files, repeat.rounds, repeat.repeats)
    if found is None:  # another rank prints
        return 0
    made, where = found
    console = open_console()
    print_line(console, f"measured on {where}")
    for path, file, measured in zip(paths, files, made, strict=True):
        for part in measured_view(str(path), file, measured):
            console.print(part)
    if out:
        plans = [measured_json(str(p), f, m) for p, f, m in zip(paths, files, made, strict=True)]
        write_json(out, {"kind": "homerec measured plans", "version": 1, "machine": where,
                              "plans": plans})  # fmt: skip
    return 0


def calibrate(cluster_name: str, out: Path, batch_size: int, repeat: RepeatOptions) -> int:
    """Fit the constants of a cluster to this machine; write its file."""
    with user_errors():
        check_folder(out)
        if out.suffix not in (".yaml", ".yml"):
            raise UserError(f"{out}: a cluster file must end in .yaml; give one with --out")
        cluster = load_cluster(cluster_name)
        if (kinds := len(cluster.kinds()[0])) > 1:
            raise UserError(
                f"{cluster_name}: other_devices: {kinds} speeds, of which calibration fits one; "
                "calibrate on devices of one kind, without the others"
            )
        found = _on_ranks(_calibrate, cluster, cluster, batch_size, repeat.rounds, repeat.repeats)
    if found is None:
        return 0
    fitted, fits, where = found
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = (
        f"homerec plan calibrate --cluster {cluster_name} --batch-size {batch_size} "
        f"--rounds {repeat.rounds} --repeats {repeat.repeats}"
    )
    fitted = rounded(fitted.model_copy(update={"source": f"{where}; {now}; {command}"}))
    notes = [
        "Constants of TorchRec's estimate, fitted to this machine by 'homerec plan calibrate'.",
        *(f"{fit.name}: off by {fit.error:.0%} over {fit.count} observations" for fit in fits),
    ]
    write_text(out, cluster_yaml(fitted, notes))
    console = open_console()
    console.print(fits_view(fits))
    print_line(console, f"written to {out}; plan with it: --cluster {shlex.quote(str(out))}")
    return 0


def _on_ranks(fn: Callable[..., Any], cluster: Cluster, *args: Any) -> Any:
    """Return the result of `fn(world, *args)` on rank 0, None on other ranks.

    Runs on the ranks that torchrun started, including this one, or else on ranks started here.
    """
    if "RANK" in os.environ:
        with open_world() as world:
            value = fn(world, *args)
            return value if world.is_first else None
    if cluster.device == "cuda" and cluster.hosts > 1:
        raise UserError(
            f"cluster: {cluster.hosts} hosts; start its ranks on them: torchrun --nnodes "
            f"{cluster.hosts} --nproc-per-node {cluster.devices_per_host} -m launchers.cli plan .."
        )
    return run_ranks(fn, cluster.ranks, *args, local_size=cluster.devices_per_host)


def _measure(
    world: World, files: Sequence[PlanFile], rounds: int, repeats: int
) -> tuple[list[Measured], str]:
    """Runs on every rank."""
    check_shape(files[0].cluster, world)
    printer = ProgressPrinter(is_first=world.is_first, rounds=rounds, plans=len(files))
    taken = measure_all(
        files, world, rounds=rounds, repeats=repeats, on_progress=printer.on_progress
    )
    return [combine(every) for every in taken], machine(world)


def _calibrate(
    world: World, cluster: Cluster, batch_size: int, rounds: int, repeats: int
) -> tuple[Cluster, tuple[Fit, ...], str]:
    """Runs on every rank."""
    printer = ProgressPrinter(is_first=world.is_first, rounds=None, plans=None)
    with torchrec_silenced():
        found, fits = calibrate_here(
            world,
            cluster,
            batch_size=batch_size,
            rounds=rounds,
            repeats=repeats,
            on_progress=printer.on_progress,
            on_retry=printer.on_retry,
        )
    return found, fits, machine(world)


def _same_shape(path: Path, file: PlanFile, first_path: Path, first: PlanFile) -> None:
    for field in ("device", "hosts", "devices_per_host"):
        own, other = getattr(file.cluster, field), getattr(first.cluster, field)
        if own != other:
            raise UserError(
                f"{path}: {field} is {own}, but {other} in {first_path}; measure them separately"
            )
