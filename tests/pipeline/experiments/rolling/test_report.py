"""What a rolling study says, in words, tables and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

from pipeline.experiments.rolling.comparison import compare_towers
from pipeline.experiments.rolling.file_types import is_rolling, load_rolling
from pipeline.experiments.rolling.findings import answer, verdict
from pipeline.experiments.rolling.notes import notes
from pipeline.experiments.rolling.report import FOREST, write_rolling_report
from pipeline.experiments.rolling.tables import (
    all_tables,
    cost_rows,
    screen_table,
    tuning_rows,
    write_markdown,
)
from pipeline.experiments.study import NAME
from pipeline.io.files import write_json
from tests.mutations import assert_read_or_refused, text_mutations
from tests.pipeline.experiments.rolling.studies import (
    ORIGINS,
    TASKS,
    TOWERS,
    made_predictions,
    rolling_study,
)


def show(folder: Path) -> None:
    found = load_rolling(folder)
    write_rolling_report(folder, found)
    write_markdown(folder, found)
    for title, rows in all_tables(found):
        screen_table(title, rows)


def test_a_difference_and_none_are_said_plainly() -> None:
    study = rolling_study()
    found = verdict(study, "home", TASKS[0])
    assert "AUC" in found
    assert "is better: +." in found
    assert "p < .001" in found
    for tower in TOWERS[1:]:
        assert "is worse: -." in verdict(study, tower, TASKS[0])
    assert "is not significant (p" in verdict(study, "home", TASKS[1])
    questions = dict(answer(study))
    main = questions["Is home better than its best rival?"]
    assert f"better: {TASKS[0]} (+" in main
    assert f"not significant: {TASKS[1]} (" in main
    rows = questions["How many rows would show a difference of .001?"]
    assert "and with so many seeds that they add no error, a difference of .001" in rows
    certain = questions["How certain is this?"]
    assert "home against every rival on every task (4 by AUC and 4 by GAUC)" in certain


def test_a_study_without_a_common_origin_and_seed_says_so(tmp_path: Path) -> None:
    study = {**rolling_study(), "summary": {}}
    write_json(tmp_path / NAME, study)
    show(tmp_path)
    assert "nothing to compare" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert not (tmp_path / FOREST).exists()


def test_a_study_with_too_few_users_says_so(tmp_path: Path) -> None:
    study = rolling_study()
    for of_task in study["summary"].values():
        for row in of_task[TASKS[1]]["towers"].values():
            row["power"] = None
            for rival in row["rivals"].values():
                names = ("error", "error_users", "error_seeds", "low", "high", "p", "p_corrected")
                rival |= {**dict.fromkeys(names), "conclusion": "too few users"}
    study["notes"] = notes(study)
    write_json(tmp_path / NAME, study)
    show(tmp_path)
    assert "too few users" in verdict(study, "home", TASKS[1])
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "AUC has no error and no conclusion" in text


def test_costs_are_those_of_the_tuned_widths() -> None:
    study = rolling_study()
    study["tuning"]["home"]["2022-05-04"] = {
        **study["tuning"]["home"][ORIGINS[0]],
        "parameters": 700,
    }
    home, star, _ = cost_rows(study)
    assert (home["parameters"], star["parameters"]) == ("500 to 700", "501")
    assert home["MFLOP per sample"] == "2.00"


def test_failed_trials_are_said(tmp_path: Path) -> None:
    failed = {"tower": "ple", "origin": ORIGINS[0], "trial": 2, "error": "out of memory"}
    study = {**rolling_study(), "failed_trials": [failed]}
    study["notes"] = notes(study)
    write_json(tmp_path / NAME, study)
    show(tmp_path)
    assert f"ple {ORIGINS[0]} trial 2 (out of memory)" in study["notes"][0]
    assert [row["failed"] for row in tuning_rows(study)] == ["0", "0", "1"]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    towers = made_predictions()
    for cell, one in towers["ple"].items():
        one.logits_NT[0, 0] = math.nan
        if cell[0] == ORIGINS[0]:
            one.labels_NT[:, 1] = 0  # shared by the towers
    study = {**rolling_study(), "summary": compare_towers(towers, TASKS)}
    study["notes"] = notes(study)
    write_json(tmp_path / NAME, study)
    show(tmp_path)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert f"AUC of {TASKS[0]} leaves out ple: scores that are not numbers" in text
    assert f"AUC of {TASKS[1]} leaves out the test days {ORIGINS[0]}, whose rows have one" in text
    assert "left out: its model diverged" in verdict(study, "ple", TASKS[0])


def test_the_picture_has_a_mark_for_every_task_and_metric(tmp_path: Path) -> None:
    write_json(tmp_path / NAME, rolling_study())
    assert is_rolling(tmp_path)
    show(tmp_path)
    picture = ElementTree.parse(tmp_path / FOREST)
    name = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f".//{name}circle")) == 2 * len(TASKS)
    texts = [one.text for one in picture.findall(f".//{name}text")]
    assert all(task in texts for task in TASKS)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert all(origin in table for origin in ORIGINS)


def test_a_study_is_shown_or_one_line_says_why_not(tmp_path: Path) -> None:
    study = rolling_study()
    study["runs"] = study["runs"][:2]
    write_json(tmp_path / NAME, study)
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    show(tmp_path)
    for changed in text_mutations(text):
        (tmp_path / NAME).write_bytes(changed)
        assert_read_or_refused(lambda: show(tmp_path), changed)
    assert json.loads(text)["protocol"] == "rolling"
