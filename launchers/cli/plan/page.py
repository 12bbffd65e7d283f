"""`homerec plan page`, and `--page` of a search or a sweep: writes one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embeddings.planner.plans.plan_file import PlanFile, load_plan
from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.errors import UserError
from pipeline.io.files import write_text
from pipeline.planning.page.document import plan_page
from pipeline.planning.page.sweep_file import SweepFile, load_sweep

# All options of a table take 30 ms on 1,024 ranks.
OPTIONS = 200


def run_page(plan_files: Sequence[Path], sweep_file: Path | None, options: int, out: Path) -> None:
    """Write the page of these files. Raises ValueError or UserError in one line for a bad file."""
    if len(plan_files) > 2:
        raise UserError(f"{plan_files[2]}: third plan; a page shows at most two plans")
    if not plan_files and sweep_file is None:
        raise UserError("plan page: nothing to show; give a plan file or --sweep FILE")
    plans = [(str(path), load_plan(path)) for path in plan_files]
    sweep = load_sweep(sweep_file) if sweep_file else None
    title = "Sharding plan" if plan_files else "Sharding sweep"
    shown = [path.name for path in (*plan_files, sweep_file) if path]
    names = " to ".join(shown[: len(plan_files) or 1])
    write_page(out, f"{title}: {names}", plans, sweep, options=options)


def write_page(
    out: Path,
    title: str,
    plans: Sequence[tuple[str, PlanFile]],
    sweep: SweepFile | None = None,
    *,
    options: int = OPTIONS,
    quiet: bool = False,
) -> None:
    """Write the page and print its path unless `quiet`."""
    write_text(out, plan_page(title, plans, sweep, options=options))
    if not quiet:
        print_line(open_console(), f"page written to {out}")
