"""A run's folder: made ours at the start, told about at the end. Rank 0 alone writes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from embeddings.planner.plans.stock_plan import plan_table
from pipeline.checkpoint.layout import named_steps, remove, step_folder
from pipeline.checkpoint.progress import Progress
from pipeline.config.tree import Config
from pipeline.data.schema import Schema
from pipeline.expert_health.diagnosis import verdicts
from pipeline.io import claim_folder as folders
from pipeline.io.errors import UserError
from pipeline.io.files import read_json, write_json, write_text
from pipeline.io.storage import AnyPath
from pipeline.report.run_report import write_report
from pipeline.tracking.tracker import print_final_table

_RESULTS = ("health.json", "results.json")


def claim(out: Path, checkpoints: AnyPath, resume: bool, overwrite: bool) -> None:
    """Make both folders ours. UserError if what is in them is another run's, or no run at all."""
    steps = named_steps(checkpoints)
    state = f" (saved up to step {steps[-1]})" if steps else ""
    folders.claim(out, _RUN, resume=resume, overwrite=overwrite, state=state)
    if checkpoints != out / "checkpoints" and steps and not resume:
        if not overwrite:
            raise UserError(
                f"checkpoint.path: {checkpoints} holds checkpoints{state}; --resume goes on with "
                "them, --overwrite replaces them, or name another folder"
            )
        for step in steps:
            remove(checkpoints, step)
        (checkpoints / "best.json").unlink(missing_ok=True)


def _is_leftover(path: Path) -> bool:
    """Whether `describe` left it, ended by a kill or a full disk before config.json was there."""
    try:
        if path.name == "schema.json":
            Schema.load(path.parent)
        elif path.name == "plan.json":
            read_json(path, needs=("tables",), remedy="")
        else:
            names = ("schema.json", "plan.json", "config.json")
            return path.name in {f".{name}.partial" for name in names}
    except UserError:
        return False
    return True


def _check_is_run(out: Path) -> None:
    """Other programs have a config.json too: what is to be deleted must be a run of ours."""
    remedy = "so it is not replaced: remove it yourself, or name another folder with --out"
    if not (out / "schema.json").is_file():
        raise UserError(f"{out}: has a config.json but no schema.json, so it is no run, {remedy}")
    try:
        Config.load(out / "config.json")
    except UserError as error:
        raise UserError(f"{error}; {out} is no run this version knows, {remedy}") from error


_RUN = folders.Kind(name="run", mark="config.json", is_leftover=_is_leftover, check=_check_is_run)


def describe(
    out: Path,
    checkpoints: AnyPath,
    config: Config,
    schema: Schema,
    plan: dict[str, Any],
    progress: Progress,
    end: int,
) -> None:
    """Write what the run is, show the best evaluation of what it goes on from, and say it."""
    schema.save(out)  # the configuration comes last: with it the folder holds a run
    write_json(out / "plan.json", plan)
    config.save(out / "config.json")
    show_best(out, checkpoints, progress.best_step)
    console = Console()
    console.print(plan_table(plan))
    splits = ", ".join(f"{name} {split.rows:,} rows" for name, split in schema.splits.items())
    console.print(f"{schema.dataset}: {splits}")
    begin = f"resumed after step {progress.step}" if progress.step else "from the start"
    console.print(f"training {config.recipe} into {out}, {begin}, to step {end}")


def write_results(checkpoints: AnyPath, step: int, results: Any, health: Any) -> None:
    """What an evaluation gave, beside the weights that it was of."""
    folder = step_folder(checkpoints, step)
    found = [asdict(verdict) for verdict in verdicts(health)]
    write_json(folder / "health.json", health | {"verdicts": found})
    write_json(folder / "results.json", {"split": "val", "step": step, "tasks": results})


def show_best(out: Path, checkpoints: AnyPath, best_step: int | None) -> None:
    """The best checkpoint's results as the run's; none where no evaluation counts.

    Copies: whatever died in between, the checkpoints know best, and a resume comes by here.
    """
    for name in _RESULTS:
        if best_step is None:
            (out / name).unlink(missing_ok=True)
        else:
            source = step_folder(checkpoints, best_step) / name
            write_text(out / name, source.read_text(encoding="utf-8"))


def finish(out: Path, checkpoints: AnyPath, schema: Schema) -> None:
    """The table at the end, the report, and where to look next."""
    remedy = f"'homerec evaluate --checkpoint {out}' gives its figures"
    results = read_json(out / "results.json", needs=("step", "tasks"), remedy=remedy)
    health = read_json(out / "health.json", needs=("verdicts",), remedy=remedy)
    print_final_table(results["tasks"])
    report = write_report(out)
    console = Console()
    for line in _wrong(health):
        console.print(f"experts:         {line}", markup=False)
    console.print(f"best checkpoint: step {results['step']} in {checkpoints}")
    console.print(f"report:          {report}")
    console.print(f"curves:          tensorboard --logdir {out}")
    split = "test" if schema.splits["test"].rows else "val"
    console.print(f"evaluate again:  homerec evaluate --checkpoint {out} --split {split}")


def _wrong(health: Any) -> list[str]:
    """What is wrong with the experts, a line each, or that nothing is."""
    lines = [verdict["text"] for verdict in health["verdicts"] if verdict["severity"] == "wrong"]
    return lines or ["healthy, as far as checked (see the report)"]
