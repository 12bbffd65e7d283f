"""`homerec compare --protocol rolling`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from launchers.cli.compare.flags import RollingFlags
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.experiments.rolling.design import Plan, RollingDesign
    from pipeline.experiments.rolling.study import RollingStudy
    from pipeline.io.json_types import Json
    from pipeline.io.set_aside import Replaced

_TOWERS = ("home", "mmoe", "ple", "shared_bottom", "single_task")
_SEEDS = (0, 1, 2)
_DEFAULTS: dict[str, Any] = {"min_train_days": 4, "trials": 8, "tune_at": "first"}


def compare_rolling(
    recipe: str | None,
    config: Path | None,
    overrides: Sequence[str],
    *,
    out: Path,
    towers: Sequence[str],
    seeds: Sequence[int],
    match: Literal["params", "flops"] | None,
    flags: RollingFlags,
    jobs: int | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
) -> int:
    """Start or resume a rolling study; returns the exit code."""
    from launchers.cli.prepare_actions import progress_bar
    from launchers.experiments.engine import run_experiment
    from pipeline.experiments.experiment import only_writer
    from pipeline.experiments.rolling.design import RollingOptions, design_rolling, plan_rolling
    from pipeline.experiments.rolling.file_types import ROLLING, load_rolling
    from pipeline.experiments.rolling.study import RollingStudy
    from pipeline.experiments.study import NAME
    from pipeline.io.claim_folder import claim, recover
    from pipeline.io.set_aside import is_pending
    from pipeline.ranks.world import open_world

    given: Json = {
        "recipe": recipe,
        "config": _text(config),
        "overrides": tuple(overrides),
        "raw": _text(flags.raw),
        "early": _text(flags.early),
        "min_train_days": flags.min_train_days,
        "origins": flags.origins,
        "trials": flags.trials,
        "tune_at": flags.tune_at,
        "search": flags.search,
        "match": match,
    }
    if (resume or overwrite) and is_pending(out):
        with only_writer(out, "study"):
            recover(out, ROLLING)
    before = load_rolling(out) if resume and (out / NAME).exists() else {}
    if resume and not before and not (out / "data").is_dir():
        raise UserError(f"{out}: no study to resume (no {NAME}); omit --resume to start one")
    options = _options(given, towers, seeds, before)
    plan = plan_rolling(RollingOptions(**options))
    console = open_console()
    _show_plan(plan, console)
    if dry_run:
        return 0
    with only_writer(out, "study") if (out / NAME).exists() else nullcontext():
        replaced = claim(out, ROLLING, resume=resume, overwrite=overwrite)
    with only_writer(out, "study"), _back_unless_saved(out, replaced, console):
        with open_world() as world, progress_bar() as progress:
            design = design_rolling(plan, out, world, progress)
        study = RollingStudy(design, before)
        jobs = max(1, min(jobs or os.cpu_count() or 1, study.total - study.num_ended))
        _show_start(study, design, jobs, console)
        stopped_by = run_experiment(study, jobs=jobs, console=console)
        _show_results(out, study.finish(), console)
    if stopped_by:
        print_line(
            console, f"stopped by {stopped_by.name}; the runs are saved; continue with --resume"
        )
        return ExitCode.STOPPED
    return int(study.num_ended < study.total)


def _options(given: Json, towers: Sequence[str], seeds: Sequence[int], before: Json) -> Json:
    """Return the options of the study: those given, of the study to resume, or the defaults."""
    found = dict(before["options"]) if before else {**given, "towers": (), "seeds": ()}
    for name, value in given.items():
        if before and value not in (None, ()) and _listed(value) != found[name]:
            raise UserError(
                f"command line: --{name.replace('_', '-')}: the study has {found[name]!r}; omit "
                "it to resume, or start another study with --out"
            )
        if not before and value is None:
            found[name] = _DEFAULTS.get(name)
    found["towers"] = [*found["towers"], *towers] or _TOWERS
    found["seeds"] = [*found["seeds"], *seeds] or _SEEDS
    if before:  # others are added
        found |= {name: dict.fromkeys(found[name]) for name in ("towers", "seeds")}
    return {
        name: tuple(one) if isinstance(one, list | tuple | dict) else one
        for name, one in found.items()
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


@contextmanager
def _back_unless_saved(out: Path, replaced: Replaced | None, console: Console) -> Iterator[None]:
    """On exit delete the study to be replaced, or restore it if no new run has saved."""
    from pipeline.experiments.rolling.file_types import ROLLING
    from pipeline.io.set_aside import FAILED

    try:
        yield
    finally:
        if replaced is not None:
            if ROLLING.has_saved(out):
                replaced.discard()
            elif replaced.put_back():
                print_line(
                    console,
                    f"no run has saved a checkpoint, so the old study was restored; "
                    f"the files of the new one are in {out / FAILED}",
                )


def _show_plan(plan: Plan, console: Console) -> None:
    for origin in plan.origins:
        text = f"origin {origin.name}: trained to {origin.train_to}, chosen on {origin.val}"
        print_line(console, f"{text}, tested on {origin.test}")
    options = plan.options
    print_line(
        console,
        f"{len(options.towers)} towers: {plan.num_trials} trials ({options.trials} per tower and "
        f"tuned origin) and {plan.num_runs} runs ({len(options.seeds)} seeds x "
        f"{len(plan.origins)} origins x {len(options.towers)} towers)",
    )


def _show_start(study: RollingStudy, design: RollingDesign, jobs: int, console: Console) -> None:
    from pipeline.experiments.rolling.estimate import core_seconds
    from pipeline.tracking.progress_line import duration_text

    print_line(console, f"search space: {' '.join(design.head['search'])}")
    seconds = core_seconds(design, study.left())
    over = f", {study.num_ended} of {study.total} are done" if study.num_ended else ""
    print_line(
        console,
        f"about {seconds / 3600:.1f} core-hours, {duration_text(seconds / jobs)} with {jobs} runs "
        f"at a time{over}",
    )


def _show_results(out: Path, study: Json, console: Console) -> None:
    """Print tables, answers and files. Failed runs and notes come last, where they are noticed."""
    from pipeline.experiments.rolling.findings import answer
    from pipeline.experiments.rolling.report import write_rolling_report
    from pipeline.experiments.rolling.tables import all_tables, screen_table, write_markdown

    table, page = write_markdown(out, study), write_rolling_report(out, study)
    for title, rows in all_tables(study):
        console.print(screen_table(title, rows))
    for question, text in answer(study):
        print_line(console, f"{question} {text}")
    for run in study["runs"]:
        if run["error"]:
            print_line(
                console, f"failed: {run['folder']}: {run['error']} (log {out / run['folder']}.log)"
            )
    for text in study["notes"]:
        print_line(console, f"note: {text}")
    print_line(console, f"table:  {table}\nreport: {page}")
