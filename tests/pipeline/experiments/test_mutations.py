"""Whatever becomes of a study's or a search's file, it is read or one line says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.config.overrides import resolve
from pipeline.config.recipes import recipe
from pipeline.data.prepare.synthetic import prepare_synthetic
from pipeline.experiments.search import Settings, TrialRun
from pipeline.experiments.search_folder import resume_search, start_search
from pipeline.experiments.search_report import FOUND, best_table, read_found, write_tune_report
from pipeline.experiments.study import (
    NAME,
    OUTCOME,
    build_study,
    load_study,
    metrics_of,
    run_entry,
    save_study,
)
from pipeline.experiments.study_report import write_study_report
from pipeline.experiments.study_tables import cost_table, metric_tables, write_markdown
from tests.mutations import assert_read_or_refused, json_mutations, text_mutations
from tests.pipeline.experiments.studies import TASKS, TOWERS, head, metrics, run, study
from tests.pipeline.experiments.test_search_report import TRIALS, search
from tests.pipeline.report.test_run_report import make_run

FINDING = {"kind": "collapse", "subject": "a.0", "severity": "wrong", "text": "a.0: dead"}


def show_study(folder: Path) -> None:
    found = load_study(folder)
    write_study_report(folder, found)
    write_markdown(folder, found)
    cost_table(found)
    for metric in metrics_of(found):
        metric_tables(found, metric, 80)


def test_a_study_is_shown_or_one_line_says_why_not(tmp_path: Path) -> None:
    runs = [run(tower, seed, findings=[FINDING]) for tower in TOWERS for seed in (0, 3)]
    save_study(tmp_path, study(runs))
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    show_study(tmp_path)
    for changed in text_mutations(text):
        (tmp_path / NAME).write_bytes(changed)
        assert_read_or_refused(lambda: show_study(tmp_path), changed)


def test_an_outcome_is_read_or_one_line_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    folder = make_run(tmp_path / "home" / "seed-0")
    recipe("debug").save(folder / "config.json")
    results = {task: metrics(0.7) for task in TASKS}
    text = json.dumps({"version": 2, "step": 6, "val": results, "test": results})

    def read() -> None:
        build_study(head(), [run_entry("home", 0, folder, "done")])

    (folder / OUTCOME).write_text(text, encoding="utf-8")
    read()
    for changed in text_mutations(text):
        (folder / OUTCOME).write_bytes(changed)
        assert_read_or_refused(read, changed)


def show_search(folder: Path) -> None:
    found = read_found(folder)
    write_tune_report(folder, found)
    best_table(found)


def test_a_search_is_shown_or_one_line_says_why_not(tmp_path: Path) -> None:
    weights = {"dense.lr": 0.9, "train.batch_size": 0.1}
    text = json.dumps(search(TRIALS, 2, importance=weights))
    (tmp_path / FOUND).write_text(text, encoding="utf-8")
    show_search(tmp_path)
    for changed in text_mutations(text):
        (tmp_path / FOUND).write_bytes(changed)
        assert_read_or_refused(lambda: show_search(tmp_path), changed)


def test_a_search_is_resumed_or_one_line_says_why_not(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "search"
    prepare_synthetic(data, rows=600, seed=3)
    base = resolve("debug", None, ["--data.path", str(data), "--train.batch_size=16"])
    fields = ["dense.lr=1e-3:1e-1:log", "model.tower.expert_dim=16:64:16", "train.epochs=1,2"]
    with start_search(out, base, [], Settings(search=fields)) as search:
        for value in (0.5, 0.6, 0.7):
            trial = search.next_run()
            assert isinstance(trial, TrialRun)
            search.evaluated(trial, 4, value)
            search.ended(trial, "done", None, 1.0)
        search.next_run()
    found = json.loads((out / FOUND).read_text(encoding="utf-8"))

    def resume() -> None:
        with resume_search(out, {}, None, None, []) as again:
            again.next_run()
            again.next_run()

    resume()
    # Of its configuration alone build() knows, and tests/pipeline/config tries that.
    small = {name: value for name, value in found.items() if name != "config"}
    for parts in json_mutations(small):
        changed = parts | {"config": found["config"]} if isinstance(parts, dict) else parts
        (out / FOUND).write_text(json.dumps(changed), encoding="utf-8")
        assert_read_or_refused(resume, changed)
