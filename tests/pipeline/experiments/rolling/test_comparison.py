"""Differences over origins and seeds: against a bootstrap over users, and with known outcomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.data.batch import NO_USER
from pipeline.experiments.rolling.comparison import compare_towers
from pipeline.experiments.rolling.differences import holm
from pipeline.experiments.rolling.predictions import MISSING, Predictions
from pipeline.io.errors import UserError

ORIGINS, SEEDS, NUM_USERS = ("2022-05-01", "2022-05-02"), (0, 1), 120
Cells = dict[tuple[str, int], Predictions]


def world(seed: int, *, gain: float = 0.0, noise: float = 1.0) -> dict[str, Cells]:
    """Two towers over a day each; `gain` is how much more of the truth the first one knows."""
    draw = np.random.default_rng(seed)
    rate = draw.normal(size=NUM_USERS)
    found: dict[str, Cells] = {"home": {}, "ple": {}}
    for origin in ORIGINS:
        users = draw.permutation(np.repeat(np.arange(NUM_USERS), draw.integers(0, 12, NUM_USERS)))
        truth = rate[users] + draw.normal(size=len(users))
        labels = (draw.random(len(users)) < 1 / (1 + np.exp(-2 * truth))).astype(np.int8)
        for tower, skill in (("home", 1 + gain), ("ple", 1.0)):
            for number in SEEDS:
                scores = skill * truth + noise * draw.normal(size=len(users))
                found[tower][origin, number] = Predictions(
                    logits_NT=scores.astype(np.float32)[:, None],
                    labels_NT=labels[:, None].copy(),
                    users_N=1000 + users,
                )
    return found


def changed(towers: dict[str, Cells], change: Any) -> dict[str, Cells]:
    return {
        tower: {cell: change(one) for cell, one in cells.items()} for tower, cells in towers.items()
    }


def twice(one: Predictions) -> Predictions:
    """The same task two times."""
    return Predictions(
        logits_NT=np.repeat(one.logits_NT, 2, axis=1),
        labels_NT=np.repeat(one.labels_NT, 2, axis=1),
        users_N=one.users_N,
    )


def row(towers: dict[str, Cells], metric: str = "auc") -> Any:
    return compare_towers(towers, ["click"])[metric]["click"]["towers"]["home"]


def test_the_error_over_users_is_that_of_a_bootstrap_over_users() -> None:
    """A user drawn twice is two users, with all of their rows at all origins and seeds."""
    towers = world(0)
    by_user = {
        cell: [np.flatnonzero(one.users_N == 1000 + user) for user in range(NUM_USERS)]
        for cell, one in towers["home"].items()
    }
    draw = np.random.default_rng(1)
    means: dict[str, list[float]] = {"auc": [], "gauc": []}
    for _ in range(200):
        chosen = draw.integers(NUM_USERS, size=NUM_USERS)
        drawn: dict[str, Cells] = {tower: {} for tower in towers}
        for cell, rows in by_user.items():
            index = np.concatenate([rows[user] for user in chosen])
            users = np.repeat(np.arange(NUM_USERS), [len(rows[user]) for user in chosen])
            for tower, cells in towers.items():
                drawn[tower][cell] = Predictions(
                    logits_NT=cells[cell].logits_NT[index],
                    labels_NT=cells[cell].labels_NT[index],
                    users_N=users,
                )
        summary = compare_towers(drawn, ["click"])
        for metric, found in means.items():
            rivals = summary[metric]["click"]["towers"]["home"]["rivals"]
            found.append(rivals["ple"]["mean"])
    for metric, of_metric in means.items():
        difference = row(towers, metric)["rivals"]["ple"]
        error, seeds = difference["error_users"], difference["error_seeds"]
        assert error == pytest.approx(np.std(of_metric), rel=0.15)
        assert difference["error"] == pytest.approx(math.hypot(error, seeds))


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not_significant() -> None:
    found = row(world(2, gain=2.0))
    assert found["best_rival"] == "ple"
    assert found["rivals"]["ple"]["conclusion"] == "better"
    assert found["rivals"]["ple"]["low"] > 0
    same = world(3)
    same["ple"] = same["home"]
    found = row(same)["rivals"]["ple"]
    assert (found["mean"], found["error"], found["p"]) == (0, 0, 1)
    assert found["conclusion"] == "not significant"


def test_equal_towers_differ_at_the_stated_rate() -> None:
    """5% of comparisons of towers that are equal have p below .05, before correction."""
    p = [row(world(seed, noise=2.0))["rivals"]["ple"]["p"] for seed in range(100, 300)]
    assert 1 <= sum(value < 0.05 for value in p) <= 20  # mean 10, a little less by design


@pytest.mark.parametrize("positives", [1, 5, 19])
def test_too_few_users_with_positives_give_no_conclusion(positives: int) -> None:
    def rare(one: Predictions) -> Predictions:
        labels = np.zeros_like(one.labels_NT)
        many = np.flatnonzero(np.bincount(one.users_N) > 1)  # users with both classes
        labels[[np.flatnonzero(one.users_N == user)[0] for user in many[:positives]]] = 1
        return Predictions(logits_NT=one.logits_NT, labels_NT=labels, users_N=one.users_N)

    for metric in ("auc", "gauc"):
        found = row(changed(world(12), rare), metric)
        assert found["mean"] is not None
        assert found["power"] is None
        rival = found["rivals"]["ple"]
        assert rival["conclusion"] == "too few users"
        assert rival["error"] is rival["p"] is rival["p_corrected"] is None


def test_one_user_gives_no_conclusion() -> None:
    def merge(one: Predictions) -> Predictions:
        users = np.zeros_like(one.users_N)
        return Predictions(logits_NT=one.logits_NT, labels_NT=one.labels_NT, users_N=users)

    for metric in ("auc", "gauc"):
        found = row(changed(world(13), merge), metric)
        assert found["rivals"]["ple"]["conclusion"] == "too few users"


def test_means_are_over_cells_that_every_tower_has_finished() -> None:
    towers = world(4)
    whole = row(towers)
    del towers["ple"][ORIGINS[1], 1]
    part = row(towers)
    first = ORIGINS[0]
    assert part["by_origin"][first] == pytest.approx(whole["by_origin"][first])
    assert part["mean"] != whole["mean"]
    assert compare_towers({"home": towers["home"], "ple": {}}, ["click"]) == {}


def test_with_one_seed_the_error_covers_users_only() -> None:
    towers = world(5)
    for cells in towers.values():
        for origin in ORIGINS:
            del cells[origin, 1]
    found = row(towers)["rivals"]["ple"]
    assert found["error_seeds"] is None
    assert found["error"] == found["error_users"]


def test_rows_without_a_user_count_for_auc_only_and_each_for_itself() -> None:
    towers = world(7)

    def forget(one: Predictions) -> Predictions:
        users = np.where(np.arange(len(one.users_N)) % 3 == 0, NO_USER, one.users_N)
        return Predictions(logits_NT=one.logits_NT, labels_NT=one.labels_NT, users_N=users)

    found = changed(towers, forget)
    assert row(found)["mean"] == row(towers)["mean"]
    summary = compare_towers(found, ["click"])
    assert summary["auc"]["click"]["rows"] > summary["gauc"]["click"]["rows"]
    assert summary["auc"]["click"]["users"] > NUM_USERS >= summary["gauc"]["click"]["users"]


def test_missing_labels_are_left_out_and_a_metric_of_one_class_is_undefined() -> None:
    def hide(one: Predictions) -> Predictions:
        hidden = np.arange(len(one.users_N))[:, None] % 2 == 0
        labels = np.where(hidden, np.int8(MISSING), np.int8(0))
        return Predictions(logits_NT=one.logits_NT, labels_NT=labels, users_N=one.users_N)

    towers = world(8)
    towers["ple"] = towers["home"]
    found = row(changed(towers, hide))
    assert found["mean"] is None
    assert found["rivals"] == {}


@pytest.mark.parametrize("metric", ["auc", "gauc"])
def test_an_origin_with_one_class_is_left_out_of_its_task(metric: str) -> None:
    """The rest is as if the origin were not there."""
    towers, shorter = world(8), world(8)
    for tower, cells in towers.items():
        for seed in SEEDS:
            cells[ORIGINS[0], seed].labels_NT[:] = 1
            del shorter[tower][ORIGINS[0], seed]
    found = compare_towers(towers, ["click"])[metric]["click"]
    assert found.pop("left_out") == {"origins": [ORIGINS[0]], "towers": []}
    expected = compare_towers(shorter, ["click"])[metric]["click"]
    assert expected.pop("left_out") == {"origins": [], "towers": []}
    assert found == expected


@pytest.mark.parametrize("metric", ["auc", "gauc"])
def test_a_diverged_tower_is_left_out_of_its_task(metric: str) -> None:
    """The others are compared as if it were not there, and it is on its other tasks."""
    towers = world(8)
    towers["mmoe"] = world(8, noise=2.0)["home"]
    two = changed(towers, twice)
    whole = compare_towers(two, ["click", "like"])[metric]
    two["mmoe"][ORIGINS[0], 1].logits_NT[3, 0] = np.nan
    found = compare_towers(two, ["click", "like"])[metric]
    assert found["click"]["left_out"] == {"origins": [], "towers": ["mmoe"]}
    assert found["click"]["towers"]["mmoe"]["mean"] is None
    assert set(found["click"]["towers"]["home"]["rivals"]) == {"ple"}
    assert found["like"]["towers"]["mmoe"]["mean"] == whole["like"]["towers"]["mmoe"]["mean"]
    del towers["mmoe"]
    alone = compare_towers(towers, ["click"])[metric]["click"]["towers"]["home"]["rivals"]["ple"]
    ours = found["click"]["towers"]["home"]["rivals"]["ple"]
    assert {**ours, "p_corrected": 0} == {**alone, "p_corrected": 0}


def test_towers_without_a_finished_run_are_not_compared() -> None:
    towers = world(8)
    found = compare_towers({**towers, "mmoe": {}}, ["click"])["auc"]["click"]["towers"]
    assert found.pop("mmoe")["mean"] is None
    assert found == compare_towers(towers, ["click"])["auc"]["click"]["towers"]


def test_other_rows_are_rejected() -> None:
    towers = world(9)
    cell = (ORIGINS[0], 0)
    one = towers["ple"][cell]
    towers["ple"][cell] = Predictions(
        logits_NT=one.logits_NT, labels_NT=1 - one.labels_NT, users_N=one.users_N
    )
    with pytest.raises(UserError, match="other test rows"):
        compare_towers(towers, ["click"])


def test_a_family_is_a_tower_against_every_rival_on_every_task_by_one_metric() -> None:
    towers = world(10, gain=0.2)
    towers["mmoe"] = world(10, noise=1.5)["home"]
    summary = compare_towers(changed(towers, twice), ["click", "like"])
    for of_task in summary.values():
        for tower in towers:
            family = [
                found
                for one in of_task.values()
                for found in one["towers"][tower]["rivals"].values()
            ]
            assert len(family) == 4
            assert [one["p_corrected"] for one in family] == holm([one["p"] for one in family])
