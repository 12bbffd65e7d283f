"""`homerec map --anomalies`."""

from __future__ import annotations

from pathlib import Path

from launchers.local.console import open_console
from pipeline.io.console import print_line
from pipeline.io.exit_codes import ExitCode


def run_anomalies(out: Path, workers: int, *, resume: bool) -> int:
    """Train the towers of every seed, and write the page."""
    from launchers.experiments.map_pool import run_jobs
    from pipeline.experiments.experiment import only_writer
    from pipeline.experiments.map.anomalies import SEEDS, AnomalyJob, run_anomaly
    from pipeline.experiments.map.anomaly_file import ANOMALIES, MARK, read_anomaly
    from pipeline.experiments.map.anomaly_page import verdict_table, write_anomaly_page
    from pipeline.io.claim_folder import claim
    from pipeline.io.files import write_json

    claim(out, ANOMALIES, resume=resume)
    console = open_console()
    with only_writer(out, "map"):
        write_json(out / MARK, {"version": 1, "seeds": SEEDS})
        every = [AnomalyJob(seed) for seed in range(SEEDS)]
        pending = [job for job in every if read_anomaly(out, job.seed) is None]
        stopped_by = run_jobs(
            run_anomaly, out, pending,
            workers=max(1, min(workers, len(pending))), done=SEEDS - len(pending), console=console,
        )  # fmt: skip
        results = [found for job in every if (found := read_anomaly(out, job.seed)) is not None]
        if results:
            console.print(verdict_table(results))
            print_line(console, f"page: {write_anomaly_page(out, results)}")
    if stopped_by:
        print_line(console, f"stopped by {stopped_by.name}; continue with --resume")
        return ExitCode.STOPPED
    return ExitCode.OK
