"""A report is one file that asks the net for nothing and shows what the run's files hold."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.io.errors import UserError
from pipeline.report.run_report import write_report
from tests.pipeline.report.page import Page

METRICS = {"rows": 900, "positives": 90, "auc": 0.71, "gauc": None, "ne": 0.93, "calibration": 1.02}
CLICK = METRICS | {"oracle_auc": 0.82, "gauc_rows_without_user": 70}
RESULTS = {
    "split": "val",
    "step": 20,
    "tasks": {"click": CLICK, "</script><b>": METRICS | {"auc": None}},
}
HEALTH: dict[str, Any] = {
    "experts": {
        "meta.shared.0": {"mean": -0.25, "deviation": 1.5, "zero_fraction": 0.125},
        "level2.task_specific.click.0": {"mean": 0.5, "deviation": 2.5, "zero_fraction": 0.5},
    },
    "gates": {"click": {"level2.task_specific.click.0": 0.375, "meta.shared.0": 0.625}},
    "self_gates": {},
    "meta_gates": {},
    "meta_self_gates": {},
    "tasks": {
        "click": {"positive_rate": 0.25, "task_specific_weight": 0.375, "gradient_norm": 0.5},
        "</script><b>": {"positive_rate": 0.01, "task_specific_weight": None},
    },
    "diagnosis": [
        {
            "kind": "collapse",
            "subject": "meta.shared.0",
            "severity": "wrong",
            "text": "meta.shared.0: 93% of outputs are zero (limit 90%)",
        },
        {
            "kind": "underfitting",
            "subject": "tasks",
            "severity": "healthy",
            "text": "1 task: <fine>",
        },
    ],
}
PLAN = {
    "tables": [
        {
            "table": name,
            "rows": rows,
            "dim": 8,
            "dtype": "fp32",
            "sharding_type": sharding,
            "compute_kernel": "fused",
            "ranks": ranks,
            "bytes": rows * 32,
        }
        for name, rows, sharding, ranks in [
            ("user_id", 1_000, "row_wise", [0, 1]),
            ("tab", 50, "data_parallel", [0, 1]),
            ("video_id", 2_000, "table_wise", [1]),
        ]
    ]
}
CONFIG = {"recipe": "demo", "model": {"tower": {"kind": "home"}}, "note": "<i>"}
SCHEMA = {"dataset": "synthetic", "splits": {"train": {"rows": 12_345}}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "first run")


def make_run(folder: Path) -> Path:
    folder.mkdir()
    lines: list[dict[str, Any]] = [
        {
            "kind": "train",
            "step": step,
            "time": 1_700_000_000 + step,
            "loss/total": 3.0 / step,
            "loss/click": 2.0 / step,
            "loss/</script><b>": None,
            "lr/dense": 0.001,
            "lr/sparse": 0.02,
            "samples_per_s": 1_000.0 + step,
            "click/auc": 0.5 + step / 100,
        }
        for step in (10, 20)
    ]
    evaluation = {f"click/{name}": value for name, value in METRICS.items()}
    lines.append({"kind": "eval", "split": "val", "step": 20, "time": 1_700_000_100} | evaluation)
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    for name, value in [
        ("results", RESULTS),
        ("health", HEALTH),
        ("plan", PLAN),
        ("config", CONFIG),
        ("schema", SCHEMA),
    ]:
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def read(run: Path) -> Page:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_page_is_whole_and_asks_the_net_for_nothing(run: Path) -> None:
    page = read(run)
    assert page.links == ["data:,"]
    style = re.search(
        "<style>(.*?)</style>", (run / "report.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert [path.name for path in run.iterdir() if "partial" in path.name] == []


def test_curves_hold_the_log(run: Path) -> None:
    page = read(run)
    loss = page.trace("Training loss by task", "click")
    assert (loss["x"], loss["y"]) == ([10, 20], [0.2, 0.1])
    assert page.trace("Training loss by task", "</script><b>")["y"] == [None, None]
    assert page.trace("AUC by task", "click")["y"] == [0.6, 0.7]
    evaluation = page.trace("AUC by task", "click (val)")
    assert (evaluation["x"], evaluation["y"]) == ([20], [0.71])
    assert page.trace("Training speed, all ranks together")["y"] == [1010.0, 1020.0]
    assert page.trace("Learning rates", "sparse")["y"] == [0.02, 0.02]
    assert page.figures["Training loss by task"]["layout"]["xaxis"]["title"]["text"] == "step"


def test_results_are_in_a_table(run: Path) -> None:
    page = read(run)
    headings = page.row("task")
    click = dict(zip(headings, page.row("click"), strict=True))
    assert click["AUC"] == "0.7100"
    assert click["oracle's AUC"] == "0.8200"
    assert click["GAUC"] == "-"
    assert click["positives"] == "90"
    other = dict(zip(headings, page.row("</script><b>"), strict=True))
    assert (other["AUC"], other["NE"]) == ("-", "0.9300")
    assert "after step 20" in page.text
    assert "val split" in page.text
    assert "GAUC leaves out rows without a user: click 70 of 900." in page.text


def test_experts_and_gates_are_shown(run: Path) -> None:
    page = read(run)
    spread = page.trace("Spread of each expert's output")
    assert (spread["y"], spread["x"]) == (list(HEALTH["experts"]), [1.5, 2.5])
    assert page.trace("Mean of each expert's output")["x"] == [-0.25, 0.5]
    assert page.trace("Zeros in each expert's output")["x"] == [0.125, 0.5]
    assert page.row("level2.task_specific.click.0") == ["level2.task_specific.click.0", "0.38"]
    assert page.row("expert") == ["expert", "click"]


def test_the_diagnosis_stands_first(run: Path) -> None:
    page = read(run)
    assert "1 thing wrong with the experts" in page.text
    assert "Collapse: meta.shared.0: 93% of outputs are zero (limit 90%)" in page.text
    assert "Underfitting: 1 task: <fine>" in page.text
    sound = HEALTH | {"diagnosis": HEALTH["diagnosis"][1:]}
    (run / "health.json").write_text(json.dumps(sound), encoding="utf-8")
    assert "All experts of the best checkpoint are healthy" in read(run).text
    chance = {"split": "val", "step": 20, "tasks": {"click": METRICS | {"auc": 0.501}}}
    (run / "results.json").write_text(json.dumps(chance), encoding="utf-8")
    text = read(run).text
    assert "cannot be judged: no task's AUC is above chance (click 0.5010)" in text
    assert "All experts of the best checkpoint are healthy" not in text
    older = {name: part for name, part in HEALTH.items() if name != "diagnosis"}
    (run / "health.json").write_text(json.dumps(older), encoding="utf-8")
    assert "Not in this run: a diagnosis" in read(run).text


def test_sparse_tasks_stand_beside_their_task_specific_experts(run: Path) -> None:
    page = read(run)
    weight = page.figures["Sparse tasks: gate weight of task-specific experts"]["data"]
    assert [(point["name"], point["x"], point["y"]) for point in weight] == [
        ("click", [0.25], [0.375])
    ]
    gradient = page.trace("Sparse tasks: gradient of task-specific experts", "click")
    assert gradient["y"] == [0.5]


def test_probes_are_curves(run: Path) -> None:
    assert "Not in this run: probes of the experts" in read(run).text
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        for step, zeros in ((5, 0.25), (10, None)):
            metrics = {
                "experts/a/b.0/zero_fraction": zeros,
                "experts/a/b.0/mean": 0.5,
                "shared/a/b.0/entropy": 0.75,
                "tasks/click/task_specific_weight": 0.5,
                "tasks/click/gradient_norm": 0.125,
            }
            head = {"kind": "health", "step": step, "time": 1_700_000_050}
            log.write(json.dumps({**head, **metrics}) + "\n")
    page = read(run)
    trace = page.trace("Zeros in each expert's output, in training", "a/b.0")
    assert (trace["x"], trace["y"]) == ([5, 10], [0.25, None])
    assert page.trace("How evenly tasks use a shared expert", "a/b.0")["y"] == [0.75, 0.75]
    assert page.trace("Gate weight on task-specific experts", "click")["y"] == [0.5, 0.5]
    assert page.trace("Gradient norm of task-specific experts", "click")["y"] == [0.125, 0.125]


def test_a_run_with_probes_alone_has_a_report(run: Path) -> None:
    for name in ("results", "health"):
        (run / f"{name}.json").unlink()
    probe = {
        "kind": "health",
        "step": 5,
        "time": 1_700_000_000,
        "tasks/click/task_specific_weight": 0.5,
    }
    (run / "metrics.jsonl").write_text(json.dumps(probe) + "\n", encoding="utf-8")
    assert read(run).trace("Gate weight on task-specific experts", "click")["y"] == [0.5]


def test_the_plan_and_the_bytes_of_each_rank_are_shown(run: Path) -> None:
    page = read(run)
    assert page.row("user_id")[1:] == ["1,000", "8", "fp32", "0.03", "row_wise", "fused", "0, 1"]
    bars = page.trace("Weights of the tables on each rank")
    assert bars["x"] == ["rank 0", "rank 1"]
    assert bars["y"] == pytest.approx([0.016 + 0.0016, 0.016 + 0.0016 + 0.064])


def test_the_header_and_the_end_say_what_and_where_next(run: Path) -> None:
    text = read(run).text
    for part in ("first run", "synthetic", "recipe demo", "tower home", "12,345", "2023-11-14"):
        assert part in text
    assert f"homerec evaluate --checkpoint '{run}' --split test" in text
    assert '"note": "<i>"' in text


def test_what_a_run_lacks_is_named(run: Path) -> None:
    for name in ("results", "health", "plan", "config", "schema"):
        (run / f"{name}.json").unlink()
    page = read(run)
    for name in ("results.json", "health.json", "plan.json", "config.json"):
        assert name in page.text
    assert "normalized entropy by task" not in page.text  # the evaluation has it
    assert page.trace("Training loss by task", "click")["y"] == [0.2, 0.1]


def test_a_tower_without_experts_says_so(run: Path) -> None:
    (run / "health.json").write_text(
        json.dumps(HEALTH | {"experts": {}, "gates": {}}), encoding="utf-8"
    )
    assert "this tower has none" in read(run).text


def test_a_long_log_is_thinned_and_keeps_its_last_point(run: Path) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        for step in range(30, 100_030, 10):
            log.write(f'{{"kind": "train", "step": {step}, "time": 1.8e9, "loss/click": 0.1}}\n')
    loss = read(run).trace("Training loss by task", "click")
    assert len(loss["x"]) == len(loss["y"]) <= 2_000
    assert loss["x"][-1] == 100_020


def test_a_folder_without_a_run_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: no metrics.jsonl")):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'metrics.jsonl'}: empty")):
        write_report(tmp_path)


def test_a_damaged_file_is_named_with_its_line(run: Path) -> None:
    log = run / "metrics.jsonl"
    log.write_text(log.read_text(encoding="utf-8").replace("\n", "\n{oops\n", 1), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{log}: line 2: not JSON")):
        write_report(run)
    log.write_text(log.read_text(encoding="utf-8").replace("{oops", "[1]"), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{log}: line 2: [1] is not")):
        write_report(run)


def test_a_line_that_is_still_being_written_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"kind": "tr')
    assert read(run).trace("Training loss by task", "click")["x"] == [10, 20]


def test_reports_need_no_torch() -> None:
    code = "import sys, pipeline.report.run_report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
