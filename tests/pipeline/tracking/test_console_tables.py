"""The table of metrics at the end of a run or an evaluation."""

import pytest

from pipeline.tracking.console_tables import print_final_table


def test_the_final_table_has_a_row_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"rows": 1_200, "auc": 0.7512, "gauc": None, "ne": 0.9, "calibration": 1.0}
    print_final_table({"click": metrics, "like": metrics}, "Metrics of the val split")
    plain = capsys.readouterr().out
    assert plain.startswith("Metrics of the val split")
    assert "1,200" in plain
    assert "0.7512" in plain
    assert "oracle" not in plain
    assert "like" in plain
    print_final_table({"comment_enter": metrics | {"oracle_auc": 0.8}}, "val")
    wide = capsys.readouterr().out
    assert "0.8000" in wide
    assert "comment_enter" in wide
    assert max(map(len, wide.splitlines())) <= 80


def test_rows_without_a_user_are_told_with_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"rows": 1_200, "auc": 0.75, "gauc": 0.7, "gauc_rows_without_user": 0}
    print_final_table({"click": metrics}, "val")
    assert "without a user" not in capsys.readouterr().out
    other = metrics | {"gauc_rows_without_user": 1_100}
    print_final_table({"click": metrics, "like": other}, "val")
    said = "GAUC leaves out rows without a user: like 1,100 of 1,200.\n"
    assert capsys.readouterr().out.endswith(said)


def test_without_a_user_column_there_is_no_gauc(capsys: pytest.CaptureFixture[str]) -> None:
    print_final_table({"click": {"rows": 1_200, "auc": 0.75, "ne": 0.9}}, "val")
    table, _, said = capsys.readouterr().out.rstrip().rpartition("\n")
    assert "GAUC" not in table
    assert said == "No user column, so GAUC is not computed."
