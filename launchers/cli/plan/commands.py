"""`homerec plan`: find a sharding plan for any cluster, keep it, inspect it. Its commands.

'homerec plan SOURCE ...' is short for 'homerec plan find SOURCE ...'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from launchers.cli.command import FLAT, Natural, Overrides, Positive, new_app
from launchers.cli.plan.light_import import light_import
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
    """Search for a sharding plan. 'homerec plan SOURCE ...' is short for 'homerec plan find'.

    Args:
        source: a recipe (with any --section.field VALUE, as in 'train'), the folder of a run or
            checkpoint, its config.json, or a table list (.yaml).
        warm: file of an earlier plan to start from.
    """
    with light_import():
        from launchers.cli.plan import actions

    return actions.find(source, options, warm, output, overrides)


@app.command
def show(plan: Path, table: str | None = None, /) -> int:
    """A plan again, or all options of one of its tables.

    Args:
        plan: file of a plan.
        table: the table whose options to show.
    """
    with light_import():
        from launchers.cli.plan import actions

    return actions.show(plan, table)


@app.command
def diff(before: Path, after: Path, /) -> int:
    """What moves from one plan to another, and how long that takes.

    Args:
        before: file of the plan as it is.
        after: file of the plan to be; its cluster counts.
    """
    with light_import():
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
    """Plans for every combination of the values of some inputs.

    Args:
        source: as for 'homerec plan find'.
        vary: INPUT=A,B,...: world_size, batch_size (rows a rank), types (a set:
            row_wise+table_wise), dim, dtype, qcomm, pipeline, reserve, replica_groups, sync_every,
            serve or a field of the cluster; once for each input.
    """
    with light_import():
        from launchers.cli.plan import actions

    return actions.sweep(source, options, vary, output, overrides)


@app.command
def page(*plans: Path, sweep: Path | None = None, options: Natural = 200, out: Path) -> int:
    """An HTML page of a plan, of two plans compared, or of a sweep.

    Args:
        plans: file of a plan; a second one: the plan to be.
        sweep: points that 'plan sweep' wrote.
        options: number of tables, the most costly ones, whose options are all shown.
        out: page to write.
    """
    with light_import():
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
    """Statistics of how data use the tables of a model, for --data of 'plan find' and 'sweep'.

    Args:
        source: as for 'homerec plan find'.
        data: prepared folder, or Parquet file or folder, to count in.
        fold: take ids modulo the rows of a table (table lists only).
        serve: share of lookups that a cache in device memory has to serve.
        batch_size: rows of the global batch whose repeated ids are shown.
        out: JSON file to write.
        json: print JSON, no table.
    """
    with light_import():
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
    """Run the lookups and exchanges of plans on this machine.

    Args:
        first: file of a plan.
        more: files of plans for as many ranks.
        cluster: .yaml file or preset whose constants to predict with (default: the plan's cluster).
        out: JSON file to write.
    """
    with light_import():
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
        cluster: .yaml file or preset, for its hosts, devices, memory and what cannot be measured.
        out: calibrated cluster to write (.yaml).
        batch_size: rows a rank.
    """
    with light_import():
        from launchers.cli.plan import measured

    return measured.calibrate(cluster, out, batch_size, repeat)
