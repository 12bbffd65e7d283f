"""A map on several processes: it stops, resumes, and equals an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launchers.cli.main import main
from launchers.experiments.map_pool import run_jobs
from pipeline.experiments.map.cell_file import read_cell, write_cell
from pipeline.experiments.map.map_folder import plan_of, save_map
from pipeline.experiments.map.map_page import write_map_page
from pipeline.experiments.map.place import place_data
from pipeline.experiments.map.train_cell import run_cell
from pipeline.io.console import plain_console
from pipeline.io.exit_codes import ExitCode
from tests.pipeline.experiments.map.plans import TINY, result, write_results
from tests.pipeline.report.page import Page


def test_a_resumed_map_equals_an_undisturbed_one(tmp_path: Path) -> None:
    jobs = list(TINY.jobs)
    for job in jobs[:3]:  # of an earlier session
        write_cell(tmp_path, job, result(job))
    pending = [job for job in jobs if read_cell(tmp_path, job) is None]
    console = plain_console()
    assert run_jobs(run_cell, tmp_path, pending, workers=2, done=3, console=console) is None
    assert all(read_cell(tmp_path, job) == result(job) for job in jobs)


def test_ctrl_c_keeps_finished_cells(tmp_path: Path) -> None:
    out = tmp_path / "map"
    command = [sys.executable, "-m", "launchers.cli", "map", "--fast", "--out", str(out)]
    with subprocess.Popen(
        [*command, "--towers", "home,mmoe", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        while not list(out.glob("cells/*/seed-*.json")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == ExitCode.STOPPED, output
    assert "continue with --resume" in output
    plan = plan_of(out, None, [], None)
    done = [job for job in plan.jobs if read_cell(out, job) is not None]
    assert 0 < len(done) < len(list(plan.jobs))
    assert json.loads((out / "map.json").read_text("utf-8"))["done"] == len(done)
    assert main(["map", "--fast", "--out", str(out)]) == ExitCode.USER_ERROR


def test_a_prepared_folder_is_placed(synthetic: Path, tmp_path: Path) -> None:
    write_results(tmp_path)
    found = save_map(tmp_path, TINY)
    place = place_data(synthetic, found)
    assert place["dials"]["tasks"] == 6
    assert place["dials"]["rate"] == pytest.approx(0.45, abs=0.05)
    assert "nearest cells" in place["verdict"]
    assert "outside the map" in place["verdict"]
    page = Page(write_map_page(tmp_path, TINY, found, place).read_text("utf-8"))
    assert page.figures["rows and tasks"]["data"][1]["marker"]["symbol"] == "star-open"
    assert str(synthetic) in page.text
