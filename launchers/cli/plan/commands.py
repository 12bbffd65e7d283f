"""The commands of `homerec plan`: find, inspect and measure sharding plans.

'homerec plan SOURCE ...' is short for 'homerec plan find SOURCE ...'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from launchers.cli.command import FLAT, Natural, Overrides, Positive, new_app
from launchers.cli.plan.options import SERVE, OutputOptions, PlanOptions, RepeatOptions

app = new_app("homerec plan", "Find, inspect and measure sharding plans.")


@app.command
@app.default
def find(
    source: str,
    /,
    *,
    options: Annotated[PlanOptions, FLAT],
    warm: Path | None = None,
    output: Annotated[OutputOptions, FLAT] = OutputOptions(),  # noqa: B008
    overrides: Overrides = (),
) -> int:
    """Find a sharding plan. 'homerec plan SOURCE ...' is short for 'homerec plan find'.

    Args:
        source: a recipe (with any --section.field VALUE, as in 'train'), the folder of a run or
            checkpoint, its config.json, or a table list (.yaml).
        warm: file of an earlier plan to start from.
    """
    from launchers.cli.plan import actions

    return actions.find(source, options, warm, output, overrides)


@app.command
def show(plan: Path, table: str | None = None, /) -> int:
    """Print a plan, or all options of one table.

    Args:
        plan: plan file.
        table: table whose options to print.
    """
    from launchers.cli.plan import actions

    return actions.show(plan, table)


@app.command
def diff(before: Path, after: Path, /) -> int:
    """List the shards that move between two plans, and estimate the time.

    Args:
        before: current plan file.
        after: new plan file, whose cluster is used.
    """
    from launchers.cli.plan import actions

    return actions.diff(before, after)


@app.command
def sweep(
    source: str,
    /,
    *,
    vary: tuple[str, ...],
    options: Annotated[PlanOptions, FLAT],
    output: Annotated[OutputOptions, FLAT] = OutputOptions(),  # noqa: B008
    overrides: Overrides = (),
) -> int:
    """Plan every combination of inputs.

    Args:
        source: as for 'homerec plan find'.
        vary: INPUT=A,B,...: world_size, batch_size (rows per rank), types (sets such as
            row_wise+table_wise), dim, dtype, qcomm, pipeline, reserve, replica_groups, sync_every,
            serve or a field of the cluster; repeatable, once per input.
    """
    from launchers.cli.plan import actions

    return actions.sweep(source, options, vary, output, overrides)


@app.command
def page(*plans: Path, sweep: Path | None = None, options: Natural = 200, out: Path) -> int:
    """Write an HTML page of a plan, of two plans to compare, or of a sweep.

    Args:
        plans: plan file, and optionally a second plan to compare with.
        sweep: file written by 'plan sweep'.
        options: number of tables whose options are all shown, most expensive first.
        out: HTML file to write.
    """
    from launchers.cli.plan import actions

    return actions.page(plans, sweep, options, out)


@app.command
def table_stats(
    source: str,
    /,
    *,
    data: Path,
    fold: bool = False,
    serve: float = SERVE,
    batch_size: Positive = 4096,
    out: Path | None = None,
    json: bool = False,
    overrides: Overrides = (),
) -> int:
    """Count how data use the tables of a model, for --data of 'plan find' and 'sweep'.

    Args:
        source: as for 'homerec plan find'.
        data: prepared folder, or Parquet file or folder.
        fold: take ids modulo the rows of a table (table lists only).
        serve: share of lookups that a cache in device memory must serve.
        batch_size: rows of the global batch in which distinct ids are counted.
        out: JSON file to write.
        json: print JSON.
    """
    from launchers.cli.plan import actions

    return actions.table_stats(
        source, data, overrides, fold=fold, serve=serve, batch_size=batch_size, out=out, json=json
    )


@app.command
def measure(
    first: Path,
    /,
    *more: Path,
    cluster: str | None = None,
    out: Path | None = None,
    repeat: Annotated[RepeatOptions, FLAT] = RepeatOptions(),  # noqa: B008
) -> int:
    """Measure the lookups and exchanges of plans on this machine.

    Args:
        first: plan file.
        more: more plan files for the same number of ranks.
        cluster: .yaml file or preset with the constants of the prediction (default: the plan's).
        out: JSON file to write.
    """
    from launchers.cli.plan import measured

    return measured.measure([first, *more], cluster, out, repeat)


@app.command
def calibrate(
    *,
    cluster: str,
    out: Path,
    batch_size: Positive = 1024,
    repeat: Annotated[RepeatOptions, FLAT] = RepeatOptions(),  # noqa: B008
) -> int:
    """Fit the constants of a cluster to this machine.

    Args:
        cluster: .yaml file or preset with hosts, devices, memory and constants not measured.
        out: calibrated cluster file to write (.yaml).
        batch_size: rows per rank.
    """
    from launchers.cli.plan import measured

    return measured.calibrate(cluster, out, batch_size, repeat)
