"""A study's numbers, sentences, tables and page, from made runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipes import recipe
from pipeline.experiments.study import folder_name, load_study, save_study
from pipeline.experiments.study_findings import answer
from pipeline.experiments.study_report import write_study_report
from pipeline.experiments.study_runs import Study, TowerRun
from pipeline.experiments.study_tables import cost_rows, metric_tables, write_markdown
from pipeline.io.errors import UserError
from pipeline.io.json_types import Json
from pipeline.metrics.spec import METRICS, metric_named
from tests.pipeline.experiments.studies import SEEDS, TASKS, TOWERS, metrics, run, study
from tests.pipeline.report.page import Page


def said(made: dict[str, object]) -> dict[str, str]:
    return dict(answer(made))


def test_the_summary_is_numpys() -> None:
    made = study()
    runs = {(entry["tower"], entry["seed"]): entry for entry in made["runs"]}
    for tower in TOWERS:
        ours, base, home = (
            np.array([runs[name, seed]["test"]["click"]["auc"] for seed in SEEDS])
            for name in (tower, "single_task", "home")
        )
        row = made["summary"]["auc"]["click"][tower]
        assert row["n"] == 4
        assert row["mean"] == pytest.approx(ours.mean())
        assert row["deviation"] == pytest.approx(ours.std(ddof=1))
        for name, other in (("against", base), ("home", home)):
            if row[name] is None:
                assert ours is base or np.array_equal(ours, other)
                continue
            assert row[name]["mean"] == pytest.approx((ours - other).mean())
            assert row[name]["error"] == pytest.approx((ours - other).std(ddof=1) / 2)


def test_metrics_are_those_of_the_split_in_the_headline() -> None:
    made = study([run("home", 0, val={task: metrics(0.6) for task in TASKS})], split="val")
    assert made["summary"]["auc"]["click"]["home"]["mean"] == 0.6
    assert any("validation" in note for note in made["notes"])
    assert not any("validation" in note for note in study()["notes"])


def test_a_study_is_read_back_equal(tmp_path: Path) -> None:
    made = study()
    save_study(tmp_path, made)
    assert load_study(tmp_path) == made


@pytest.mark.parametrize("text", ["", "[]", '{"version": 0}', '{"version": 2}', "\x00"])
def test_what_is_no_study_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.json"):
        load_study(tmp_path)


def test_folders_are_safe_and_differ() -> None:
    names = [folder_name(tower) for tower in ("mmoe", "mmoe*", "home-no_self_gate")]
    assert names == ["mmoe", "mmoe-star", "home-no_self_gate"]


def test_the_answer_says_what_the_numbers_say() -> None:
    text = said(study())
    better = text["Is home better here?"]
    assert "by AUC better on 2 of 2 tasks, worse on none" in better
    assert "click (+.0200 ± .0006)" in better
    assert "standard error below single_task: no task" in better
    assert "highest on click, </script><b>." in text["Is home the best of them?"]
    see_saw = text["Which towers see-saw?"]
    assert "mmoe* (up on click, down on </script><b>)" in see_saw
    assert "Not: home, home-no_self_gate" in see_saw
    assert "home-no_self_gate: worse on click (AUC)" in text["Which parts of HoME help?"]
    sure = text["How certain is this?"]
    assert "weak test: with 4 seeds" in sure
    assert "14%" in sure


def test_one_seed_says_so() -> None:
    made = study([run(tower, 0) for tower in TOWERS], seeds=[0])
    text = said(made)
    assert text["How certain is this?"].startswith("Not certain: one seed")
    assert any(note.startswith("There is only one seed") for note in made["notes"])
    better = text["Is home better here?"]
    assert better.startswith("Inconclusive with one seed.")
    assert "AUC: click +.0210, </script><b> +.0110." in better
    assert text["Is home the best of them?"].startswith("With one seed, whose order may be")
    for question in ("Which towers see-saw?", "Which parts of HoME help?"):
        assert text[question] == "Inconclusive: one seed has no standard error."


@pytest.mark.parametrize("seeds", [(0,), SEEDS])
@pytest.mark.parametrize("towers", [("home",), ("home", "single_task")])
def test_what_is_not_known_is_reported_nowhere(
    tmp_path: Path, towers: tuple[str, ...], seeds: tuple[int, ...]
) -> None:
    """Marks, deviations, errors and conclusions stand where there are such, and only there."""
    about = {name: {"folder": name, "parameters": 1, "flops": 1, "config": {}} for name in towers}
    runs = [run(tower, seed) for seed in seeds for tower in towers]
    made = study(runs, towers=about, against=towers[-1], seeds=list(seeds))
    many, two = len(seeds) > 1, len(towers) > 1
    page = Page(write_study_report(tmp_path, made).read_text(encoding="utf-8"))
    markdown = write_markdown(tmp_path, made).read_text(encoding="utf-8")
    title = str(metric_tables(made, metric_named("auc"), 200)[0].title)
    for text in (page.text, markdown):
        assert ("±" in text) == many
        assert ("standard error" in text.replace("no standard error", "")) == (many and two)
        assert ("There is only one tower" in text) == (not two)
        assert ("is the only tower" in text) == (not two)
        assert ("best of them?" in text) == two
        assert ("▲" in text) == (many and two)
        assert ("There is only one seed" in text) == (not many)
    assert ("±" in title) == many
    assert ("▲" in title) == (many and two)
    assert ("inconclusive" in page.text) == (two or not many)
    assert ("minus home" in page.text) == two


def test_towers_without_a_common_seed_are_not_compared() -> None:
    made = study([run("home", 0), run("single_task", 3)])
    text = said(made)
    assert "no seed is finished with both home and single_task" in text["Is home better here?"]
    assert text["How certain is this?"].startswith("Not certain: without seeds")
    assert any("home 1, mmoe* 0, single_task 1" in note for note in made["notes"])


def test_failed_and_missing_runs_are_named_counted_and_left_out() -> None:
    runs = [run(tower, seed) for seed in SEEDS for tower in TOWERS]
    gone = {"folder": "home/seed-0", "tower": "home", "seed": 0}
    runs[0] = gone | {"status": "failed", "error": "step 3: loss is not finite"}
    made = study(runs)
    assert "1 of 16 runs failed and are excluded: home seed 0." in made["notes"]
    assert made["summary"]["auc"]["click"]["home"]["against"]["n"] == 3


def test_without_users_a_study_has_no_gauc(tmp_path: Path) -> None:
    def without(run: Json) -> Json:
        row = {n: v for n, v in run["test"]["click"].items() if "gauc" not in n}
        return run | {"test": {"click": row, TASKS[1]: row | {"positives": 0, "auc": None}}}

    made = study([without(run(tower, seed)) for seed in SEEDS for tower in TOWERS])
    assert "gauc" not in made["summary"]
    assert "No user column, so GAUC is not computed." in made["notes"]
    where = "of the test split"
    assert (
        f"{TASKS[1]}: no positive among 900 rows {where}, so it has no AUC or NE." in made["notes"]
    )
    assert not any("GAUC" in text for text in said(made).values())
    save_study(tmp_path, made)
    assert load_study(tmp_path) == made
    table = write_markdown(tmp_path, made).read_text(encoding="utf-8")
    page = write_study_report(tmp_path, made).read_text(encoding="utf-8")
    assert table.count("GAUC") == page.count("GAUC") == 1


def test_a_task_of_one_class_is_named_and_the_rest_continues(tmp_path: Path) -> None:
    nothing = metrics(None, positives=0, ne=None, calibration=None, gauc_users=0)
    runs = [
        run(
            tower,
            seed,
            test={"click": metrics(0.7, gauc_rows_without_user=30), TASKS[1]: nothing},
        )
        for seed in SEEDS
        for tower in TOWERS
    ]
    made = study(runs)
    where = "of the test split"
    for note in (
        f"{TASKS[1]}: no positive among 900 rows {where}, so it has no AUC, GAUC or NE.",
        f"GAUC leaves out users whose rows {where} are of one class: click 10 of 50.",
        "GAUC leaves out rows without a user: click 30 of 900.",
    ):
        assert note in made["notes"]
    row = made["summary"]["auc"][TASKS[1]]["home"]
    assert (row["n"], row["mean"], row["against"]["conclusion"]) == (0, None, "inconclusive")
    said(made)
    write_markdown(tmp_path, made)
    write_study_report(tmp_path, made)


@pytest.mark.parametrize("towers", [["home"], ["mmoe*"], ["mmoe*", "single_task"]])
def test_any_list_of_towers_makes_a_page(tmp_path: Path, towers: list[str]) -> None:
    about = {name: {"folder": name, "parameters": 1, "flops": 1, "config": {}} for name in towers}
    against = "single_task" if "single_task" in towers else towers[0]
    runs = [run(tower, seed) for seed in SEEDS for tower in towers]
    made = study(runs, towers=about, against=against)
    said(made)
    write_markdown(tmp_path, made)
    assert Page(write_study_report(tmp_path, made).read_text(encoding="utf-8")).open == []


def test_a_study_without_a_finished_run_makes_a_page(tmp_path: Path) -> None:
    pending = {"folder": "home/seed-0", "tower": "home", "seed": 0, "status": "pending"}
    made = study([pending | {"error": None}])
    assert "No run has finished" in said(made)["Results"]
    write_markdown(tmp_path, made)
    assert Page(write_study_report(tmp_path, made).read_text(encoding="utf-8")).open == []


def test_tables_have_a_row_a_tower() -> None:
    made = study()
    (table,) = metric_tables(made, metric_named("auc"), 200)
    assert table.row_count == len(TOWERS)
    costs = {row["tower"]: row for row in cost_rows(made)}
    assert costs["home"]["parameters"] == "1,000"
    assert costs["home"]["training"] == "0:30"


def test_markdown_holds_every_metric(tmp_path: Path) -> None:
    text = write_markdown(tmp_path, study()).read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| home |")]
    assert len(rows) == len(METRICS) + 1
    assert rows[0][1] == "0.7240 ± .0029 (▲ +.0200 ± .0006)"
    assert "mmoe\\*" in text


def test_the_page_draws_the_differences_and_links_the_runs(tmp_path: Path) -> None:
    page = Page(write_study_report(tmp_path, study()).read_text(encoding="utf-8"))
    assert page.open == []
    assert "./mmoe-star/seed-3/report.html" in page.links
    assert all(not link.startswith("http") for link in page.links)
    points = page.figures["AUC minus single_task's"]["data"]
    home = next(p for p in points if p["y"] == ["<b>home</b>"] and "hovertemplate" in p)
    assert home["x"] == [pytest.approx(0.02)]
    assert home["error_x"]["array"] == [pytest.approx(2 * 0.001 * np.sqrt(4 / 3) / 2)]
    assert page.row("home")[1].startswith("▲ 0.7240")


def test_health_findings_are_shown_by_tower_and_seed(tmp_path: Path) -> None:
    dead = {
        "kind": "collapse",
        "subject": "meta.shared.1",
        "severity": "wrong",
        "text": "meta.shared.1: 93% of outputs are zero (limit 90%)",
    }
    sound = {"kind": "collapse", "subject": "experts", "severity": "healthy", "text": "none dead"}
    found = {"home": [sound], "mmoe*": [dead], "single_task": []}
    runs = [run(tower, seed, findings=found.get(tower)) for seed in SEEDS for tower in TOWERS]
    made = study(runs)
    text = said(made)["Are home's experts healthy?"]
    assert text.startswith("Yes, in each of 4 runs: none dead (collapse, seed 0, 3, 5, 8)")
    assert "home 0.0, mmoe* 1.0, single_task 0.0" in text
    page = Page(write_study_report(tmp_path, made).read_text(encoding="utf-8"))
    assert ["mmoe*", "wrong", "collapse", dead["text"], "0, 3, 5, 8"] in page.rows
    assert "Not in this run: a diagnosis in health.json of home-no_self_gate" in page.text
    swapped = [run("home", 0, findings=[dead]), run("single_task", 0)]
    assert "Not all. meta.shared.1" in said(study(swapped))["Are home's experts healthy?"]


def test_a_study_is_plain_json() -> None:
    json.dumps(study(), allow_nan=False)


def test_pages_of_studies_need_no_torch() -> None:
    code = "import sys, pipeline.experiments.study_report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_that_was_done_and_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    made = TowerRun(
        name="home seed 0",
        folder=tmp_path / "home" / "seed-0",
        log=tmp_path / "log",
        config=recipe("debug"),
        steps=20,
        tower="home",
        seed=0,
    )
    for status in ("done", "failed"):
        before = {"runs": [run("home", 0, status=status)]}
        if status == "done":
            with pytest.raises(UserError, match=r"home seed 0 was finished, but .*/seed-0 is gone"):
                Study(tmp_path, study(), [made], [], before)
        else:
            assert Study(tmp_path, study(), [made], [], before).num_pending == 1
