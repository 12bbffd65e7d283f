"""`homerec compare`: train several towers over several seeds on the same batches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from launchers.cli.command import FLAT, Overrides, Positive
from launchers.cli.compare.flags import RollingFlags
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.experiments.study_design import StudyDesign
    from pipeline.experiments.study_runs import Study
    from pipeline.io.json_types import Json
    from pipeline.io.set_aside import Replaced

TOWERS = ("home", "mmoe", "ple", "shared_bottom", "single_task")
_SEEDS = 4
_MAX_SEEDS = 10_000


def compare(
    recipe: str | None = None,
    /,
    *,
    out: Path,
    protocol: Literal["split", "rolling"] = "split",
    config: Path | None = None,
    towers: str | None = None,
    seeds: str | None = None,
    against: str | None = None,
    match: Literal["params", "flops"] | None = None,
    rolling: Annotated[RollingFlags, FLAT] = RollingFlags(),  # noqa: B008
    jobs: Positive | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    overrides: Overrides = (),
) -> int:
    """Compare towers over several seeds on the same batches. Any --section.field VALUE ('homerec
    train --help' lists them) applies to all runs; --model.tower fields set the recipe's tower,
    from which the others take their widths. The exit code is 1 if a run failed.

    Args:
        recipe: recipe of all runs: demo, debug, kuairand or auto (default: as in --config).
        out: folder of the study.
        protocol: split: one prepared folder with validation and test rows. rolling: origins, each
            with all days up to one for training, the next day for choosing hyperparameters and
            checkpoints, and the day after for testing; every tower is tuned by as many trials.
        config: YAML file overriding the recipe, such as one of 'homerec init'.
        towers: towers to compare, A,B,...: home, single_task, shared_bottom, mmoe, cgc, ple, adatt,
            smes, rankmixer, experts like HoME's (mmoe*), and ablations of HoME (home-no_self_gate)
            (default: home,mmoe,ple,shared_bottom,single_task; with --resume: those of the study).
        seeds: N for 0 to N-1, or a list such as 3,5,7 (default: 4, with rolling origins 3; with
            --resume: those of the study).
        against: baseline tower (default: single_task, or the first of --towers); with rolling
            origins every tower is compared with every other.
        match: scale the widths of the others to match the cost of the recipe's HoME.
        jobs: number of parallel runs (default: one per core).
        resume: continue the study in --out; --towers and --seeds are added to it.
        overwrite: replace the study in --out.
        dry_run: list the runs and the costs of the towers without training.
    """
    chosen = _names(towers) if towers is not None else []
    numbers = _seeds(seeds) if seeds is not None else []
    if resume and overwrite:
        raise UserError("command line: --resume and --overwrite contradict each other")
    if recipe is None and config is None and not resume:
        raise UserError("command line: give a recipe, or --config")
    if protocol == "rolling":
        from launchers.cli.compare.rolling import compare_rolling

        if against is not None:
            raise UserError(
                "command line: --against: with rolling origins every tower is compared with every "
                "other; omit it"
            )
        return compare_rolling(
            recipe,
            config,
            overrides,
            out=out,
            towers=chosen,
            seeds=numbers,
            match=match,
            flags=rolling,
            jobs=jobs,
            resume=resume,
            overwrite=overwrite,
            dry_run=dry_run,
        )
    if given := rolling.given:
        raise UserError(f"command line: --{given[0]} needs --protocol rolling")
    from launchers.experiments.engine import run_experiment
    from pipeline.experiments.experiment import only_writer
    from pipeline.experiments.study import NAME, STUDY, load_study
    from pipeline.experiments.study_design import design_study
    from pipeline.experiments.study_runs import Study
    from pipeline.io.claim_folder import claim, recover
    from pipeline.io.set_aside import is_pending
    from pipeline.ranks.world import open_world

    if (resume or overwrite) and is_pending(out):
        with only_writer(out, "study"):
            recover(out, STUDY)
    if resume and not (out / NAME).exists():
        raise UserError(f"{out}: no study to resume (no {NAME}); omit --resume to start one")
    before = load_study(out) if resume else None
    with open_world() as world:
        design = design_study(
            recipe=recipe,
            config=config,
            overrides=overrides,
            towers=chosen or list(before["towers"] if before else TOWERS),
            seeds=numbers or (before["seeds"] if before else range(_SEEDS)),
            out=out,
            against=against,
            match=match,
            world=world,
            study=before,
        )
    console = open_console()
    if dry_run:
        _show_design(design, console)
        return 0
    with only_writer(out, "study") if (out / NAME).exists() else nullcontext():
        replaced = claim(out, STUDY, resume=resume, overwrite=overwrite)
    with only_writer(out, "study"), _back_unless_saved(out, replaced, console):
        study = Study(out, design.head, design.runs, design.kept, before or {})
        jobs = max(1, min(jobs or os.cpu_count() or 1, study.num_pending))
        _show_start(study, design, out, jobs, console)
        stopped_by = run_experiment(study, jobs=jobs, console=console)
        _show_results(out, study.record(), console)
    if stopped_by:
        print_line(
            console, f"stopped by {stopped_by.name}; the runs are saved; continue with --resume"
        )
        return ExitCode.STOPPED
    return int(study.num_ended < study.total)


@contextmanager
def _back_unless_saved(out: Path, replaced: Replaced | None, console: Console) -> Iterator[None]:
    """On exit delete the study to be replaced, or restore it if no new run has saved."""
    from pipeline.experiments.study import STUDY
    from pipeline.io.set_aside import FAILED

    try:
        yield
    finally:
        if replaced is not None:
            if STUDY.has_saved(out):
                replaced.discard()
            elif replaced.put_back():
                print_line(
                    console,
                    f"no run has saved a checkpoint, so the old study was restored; "
                    f"the files of the new one are in {out / FAILED}",
                )


def _show_design(design: StudyDesign, console: Console) -> None:
    from pipeline.experiments.study import build_study
    from pipeline.experiments.study_tables import cost_table

    console.print(cost_table(build_study(design.head, [])))
    for run in design.runs:
        print_line(console, f"{run.name}: {run.folder}")
    print_line(
        console, f"{len(design.runs)} runs of {design.runs[0].steps:,} steps, each on one rank"
    )


def _show_start(study: Study, design: StudyDesign, out: Path, jobs: int, console: Console) -> None:
    head, over = design.head, study.num_ended
    text = f"{len(head['towers'])} towers x {len(head['seeds'])} seeds in {out}"
    text += f", {over} of {study.total} runs are done" if over else ""
    text += f", {len(design.kept)} other runs are kept" if design.kept else ""
    print_line(console, f"{text}; {design.runs[0].steps:,} steps per run, {jobs} runs at a time")


def _show_results(out: Path, study: Json, console: Console) -> None:
    """Print tables, answers and files. Failed runs and notes come last, where they are noticed."""
    from pipeline.experiments.study import headline_of
    from pipeline.experiments.study_findings import answer
    from pipeline.experiments.study_report import write_study_report
    from pipeline.experiments.study_tables import cost_table, metric_tables, write_markdown

    table, page = write_markdown(out, study), write_study_report(out, study)
    if any(entry["status"] == "done" for entry in study["runs"]):
        for metric in headline_of(study):
            console.print(*metric_tables(study, metric, console.width))
        console.print(cost_table(study))
    for question, text in answer(study):
        print_line(console, f"{question} {text}")
    for entry in study["runs"]:
        if entry["error"]:
            what = f"failed: {entry['tower']} seed {entry['seed']}: {entry['error']}"
            print_line(console, f"{what} (log {out / entry['folder']}.log)")
    for text in study["notes"]:
        print_line(console, f"note: {text}")
    print_line(console, f"table:  {table}\nreport: {page}")


def _names(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise UserError("command line: --towers: no tower given; name at least one")
    return names


def _seeds(text: str) -> list[int]:
    """'4' -> 0 to 3; '3,5,7' and '3,' -> these seeds."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) < 2**31 for part in parts):
        raise UserError(
            f"command line: --seeds {text!r} is neither a number of seeds nor a list such as 3,5,7"
        )
    numbers = list(map(int, parts))
    if "," not in text:
        if numbers[0] > _MAX_SEEDS:
            raise UserError(f"command line: --seeds {text!r}: give at most {_MAX_SEEDS}")
        numbers = list(range(numbers[0]))
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"command line: --seeds {text!r}: give at least one seed, each only once")
    return numbers
