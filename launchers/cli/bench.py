"""`homerec bench`: measures on this machine."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import Natural, Overrides, Positive, new_app

app = new_app("homerec bench", "Measure on this machine.")


@app.command(name="input")
def bench_input(*, config: Path, overrides: Overrides = ()) -> int:
    """Measure what preparing a table costs, against a plain Polars read and write of its files.

    Polars reads the same columns, joins the same side tables and writes Parquet, once before and
    once after. Each is a process of its own; imports do not count.

    Args:
        config: YAML file, such as 'homerec init' writes.
    """
    from pipeline.config.overrides import resolve
    from pipeline.data.sources.joined import open_joined
    from pipeline.data.table.cost import measure
    from pipeline.io.console import plain_console, print_line
    from pipeline.io.errors import UserError
    from pipeline.io.text_table import text_table

    spec = resolve(None, config, overrides).table_spec()
    if spec is None:
        raise UserError(f"{config}: no data.source; 'homerec init' writes a file with one")
    source = open_joined(spec.source, spec.join)
    rows = sum(chunk.rows for chunk in source.chunks)
    size = sum(file.size for file in source.files) / 1e6
    plain, ours = measure(spec)
    console = plain_console()
    view = text_table(f"{rows:,} rows, {size:,.1f} MB", ["what"], ["s", "CPU-s", "peak MB"])
    for name, cost in (
        ("Polars, first", plain[0]),
        ("prepare table", ours),
        ("Polars, again", plain[1]),
    ):
        cells = f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}", f"{cost.peak_mb:,.0f}"
        view.add_row(name, *cells)
    console.print(view)
    mean = sum(cost.cpu_seconds for cost in plain) / len(plain)
    print_line(
        console,
        f"prepare table takes {ours.cpu_seconds / mean:.1f} times the CPU of Polars, "
        f"{1e6 * ours.cpu_seconds / max(1, rows):.2f} CPU-s per million rows",
    )
    return 0


@app.command(name="serve")
def bench_serve(
    *,
    model: Path,
    rows: Path,
    candidates: Positive = 500,
    seconds: Positive = 10,
    seed: Natural = 0,
    out: Path | None = None,
) -> int:
    """Measure a server of a model: latency by offered load, and the knee.

    Requests arrive by a Poisson process and count from when they should have been sent. The knee
    is the largest load that the server keeps up with, at a p99 of at most 10 times the median at
    the lightest load. The client runs on the same machine.

    Args:
        model: folder written by 'homerec export'.
        rows: files of a table, whose rows make requests.
        candidates: candidates of a request.
        seconds: seconds per load; there are nine loads.
        seed: seed of arrivals and requests.
        out: page to write, such as serve.html.
    """
    from pipeline.io.console import plain_console, print_line
    from pipeline.io.text_table import text_table
    from pipeline.serving.bench.page import HEADINGS, write_page
    from pipeline.serving.bench.sweep import bench, rows_of

    console = plain_console()
    found = bench(model, rows, candidates=candidates, seconds=seconds, seed=seed)
    view = text_table(f"{model}, {candidates} candidates", [], HEADINGS)
    for row in rows_of(found):
        view.add_row(*row)
    console.print(view)
    print_line(console, f"closed loop: {found.capacity:.1f} rankings/s")
    print_line(console, f"ready {found.start_s:.2f} s after the command")
    for form, ms in found.ms.items():
        what = ", plain PyTorch" if form == "export" else ""
        print_line(console, f"scoring a request, tower {form}{what}: {ms:.1f} ms of one core")
    if out is not None:
        write_page(out, model, found)
        print_line(console, f"page: {out}")
    return 0
