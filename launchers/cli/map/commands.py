"""`homerec map`: where HoME pays, on simulated tasks with known probabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launchers.cli.command import Positive
from launchers.cli.map.anomalies import run_anomalies
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.experiments.map.design import MapPlan
    from pipeline.io.json_types import Json


def map_(
    *,
    out: Path,
    fast: bool = False,
    towers: str | None = None,
    seeds: Positive | None = None,
    jobs: Positive | None = None,
    resume: bool = False,
    place: Path | None = None,
    anomalies: bool = False,
) -> int:
    """Train towers on simulated tasks with known probabilities, and map where HoME is better than
    the best rival: over numbers of rows and tasks, rates, conflict, shared structure and noise.

    Args:
        out: folder of the map.
        fast: fewer cells and seeds.
        towers: towers, A,B,..., HoME among them (default: those of 'homerec compare', mmoe*
            and ple*; with --resume: those of the map).
        seeds: number of seeds (default: 4; 3 with --fast; with --resume: those of the map).
        jobs: number of processes, with one thread each (default: one per core).
        resume: continue the map in --out.
        place: prepared folder to place on the finished map in --out; nothing is trained.
        anomalies: instead of a map, train MMoE, CGC, HoME and ablations where experts collapse,
            degrade and underfit.
    """
    names = _names(towers)
    if place is not None:
        if resume or fast or names or seeds or jobs or anomalies:
            raise UserError("command line: --place trains nothing; give it --out alone")
        return _place(out, place)
    if anomalies:
        if fast or names or seeds:
            raise UserError("command line: --anomalies has towers and seeds of its own")
        return run_anomalies(out, jobs or os.cpu_count() or 1, resume=resume)
    from launchers.experiments.map_pool import run_jobs
    from pipeline.experiments.experiment import only_writer
    from pipeline.experiments.map.cell_file import read_cell
    from pipeline.experiments.map.design import design_map
    from pipeline.experiments.map.map_folder import MAP, plan_of, save_map
    from pipeline.experiments.map.train_cell import run_cell
    from pipeline.io.claim_folder import claim

    kind = "fast" if fast else None
    if resume:
        plan = plan_of(out, kind, names, seeds)
    else:
        plan = design_map(kind or "full", names or _default_towers(), seeds)
    claim(out, MAP, resume=resume)
    console = open_console()
    with only_writer(out, "map"):
        save_map(out, plan)
        every = list(plan.jobs)
        pending = [job for job in every if read_cell(out, job) is None]
        workers = max(1, min(jobs or os.cpu_count() or 1, len(pending)))
        print_line(console, _start_line(out, plan, len(every), len(pending), workers))
        stopped_by = run_jobs(
            run_cell, out, pending,
            workers=workers, done=len(every) - len(pending), console=console,
        )  # fmt: skip
        _show_results(out, plan, save_map(out, plan), console)
    if stopped_by:
        print_line(console, f"stopped by {stopped_by.name}; continue with --resume")
        return ExitCode.STOPPED
    return ExitCode.OK


def _start_line(out: Path, plan: MapPlan, total: int, pending: int, workers: int) -> str:
    over = f", {total - pending} of {total} are done" if pending < total else ""
    return (
        f"{len(plan.cells)} cells x {len(plan.seeds)} seeds of {len(plan.towers)} towers in {out}"
        f"{over}; {workers} at a time"
    )


def _show_results(out: Path, plan: MapPlan, found: Json, console: Console) -> None:
    from pipeline.experiments.map.map_page import (
        anomaly_table,
        cell_table,
        rule_table,
        write_map_page,
    )
    from pipeline.experiments.map.map_words import answers

    page = write_map_page(out, plan, found)
    if found["cells"]:
        console.print(cell_table(found), rule_table(found), anomaly_table(found))
        for question, text in answers(found):
            print_line(console, f"{question} {text}")
    print_line(console, f"page: {page}")


def _place(out: Path, data: Path) -> int:
    """Print where the prepared folder `data` is on the map, and mark it on the page."""
    from pipeline.experiments.map.map_folder import load_map, plan_of
    from pipeline.experiments.map.map_page import place_table, write_map_page
    from pipeline.experiments.map.place import place_data

    plan, found = plan_of(out, None, [], None), load_map(out)
    place = place_data(data, found)
    page = write_map_page(out, plan, found, place)
    console = open_console()
    console.print(place_table(place))
    print_line(console, place["verdict"])
    print_line(console, f"page: {page}")
    return ExitCode.OK


def _default_towers() -> list[str]:
    from launchers.cli.compare.commands import TOWERS
    from pipeline.experiments.map.design import DEFAULT_RIVALS

    return [*TOWERS, *DEFAULT_RIVALS]


def _names(text: str | None) -> list[str]:
    if text is None:
        return []
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise UserError("command line: --towers: no tower given; name at least two")
    return names
