"""Findings of a rolling study in plain sentences: a verdict per tower and task, and the power."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.experiments.rolling.differences import LEVEL, POWER
from pipeline.experiments.study_findings import plain, signed
from pipeline.io.json_types import Json
from pipeline.metrics.clustered import MIN_USERS
from pipeline.metrics.spec import metric_named

_CONCLUSIONS = ("better", "worse", "not significant", "too few users")


def answer(study: Json) -> list[tuple[str, str]]:
    """Question and answer, the main one first."""
    if not study["summary"]:
        text = "No origin and seed has been finished by two towers: there is nothing to compare."
        return [("Results", text)]
    name = study["subject"]
    found = [(f"Is {name} better than its best rival?", _overall(study, name))]
    found += [(f"{name}: {task}", verdict(study, name, task)) for task in study["tasks"]]
    found.append(("How many rows would show a difference of .001?", power_text(study)))
    found.append(("How certain is this?", how_sure(study)))
    return found


def verdict(study: Json, tower: str, task: str) -> str:
    """Return a tower's verdict on a task: each metric against the best rival."""
    parts = []
    for metric, of_task in study["summary"].items():
        heading = metric_named(metric).heading
        row = of_task[task]["towers"][tower]
        if row["mean"] is None:
            left_out = of_task[task]["left_out"]["towers"]
            why = "undefined" if tower not in left_out else "left out: its model diverged"
            parts.append(f"{heading} is {why}")
            continue
        if row["best_rival"] is None:
            parts.append(f"{heading} {plain(row['mean'])}, without a rival")
            continue
        best = row["best_rival"]
        found = row["rivals"][best]
        if found["error"] is None:
            parts.append(
                f"{heading} {plain(row['mean'])}: {signed(found['mean'])} to {best}, the best "
                "rival; too few users for an error"
            )
            continue
        difference = f"{signed(found['mean'])} ({interval(found)}) to {best}, the best rival"
        if found["conclusion"] == "not significant":
            seen = signed(row["power"]["smallest"])[1:]
            parts.append(
                f"{heading} {plain(row['mean'])}: {difference}, is not significant "
                f"(p {p_text(found)}; uncorrected, this study shows differences of {seen})"
            )
        else:
            parts.append(
                f"{heading} {plain(row['mean'])} is {found['conclusion']}: {difference}, "
                f"p {p_text(found)}"
            )
    return "; ".join(parts) + "."


def verdicts(study: Json) -> Iterator[tuple[str, str, str]]:
    """Yield tower, task and verdict."""
    if study["summary"]:
        for tower in study["towers"]:
            for task in study["tasks"]:
                yield tower, task, verdict(study, tower, task)


def best_differences(study: Json, tower: str) -> Iterator[tuple[str, str, str, Json, Json]]:
    """Yield metric, task, best rival, difference to it and the tower's row, where defined."""
    for metric, of_task in study["summary"].items():
        for task, one in of_task.items():
            row = one["towers"][tower]
            if row["best_rival"] is not None:
                yield metric, task, row["best_rival"], row["rivals"][row["best_rival"]], row


def interval(found: Json) -> str:
    """Format the 95% interval as '+.0002 to +.0022'."""
    if found["low"] is None:
        return "-"
    return f"{signed(found['low'])} to {signed(found['high'])}"


def p_text(found: Json) -> str:
    p = found["p_corrected"]
    if p is None:
        return "-"
    if p >= 0.9995:
        return "1"
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _overall(study: Json, name: str) -> str:
    sentences = []
    for metric in study["summary"]:
        by: dict[str, list[str]] = {conclusion: [] for conclusion in _CONCLUSIONS}
        for of, task, rival, found, _ in best_differences(study, name):
            if of == metric:
                by[found["conclusion"]].append(f"{task} ({signed(found['mean'])} to {rival})")
        parts = [f"{conclusion}: {', '.join(tasks)}" for conclusion, tasks in by.items() if tasks]
        sentences.append(f"{metric_named(metric).heading}: {'; '.join(parts) or 'undefined'}.")
    return "On test days, which no choice of this study saw. " + " ".join(sentences)


def power_text(study: Json) -> str:
    name = study["subject"]
    parts = []
    for metric, task, rival, _, row in best_differences(study, name):
        power = row["power"]
        if power is None:
            continue
        parts.append(
            f"{task} {metric_named(metric).heading} {power['rows']:,} rows of {power['users']:,} "
            f"users (to {rival})"
        )
    if not parts:
        return f"Unknown: no metric has {MIN_USERS} users at every origin to estimate errors from."
    one = next(iter(next(iter(study["summary"].values())).values()))
    return (
        f"With {100 * POWER:.0f}% power, at {100 * LEVEL:.0f}% and for one comparison, and with so "
        f"many seeds that they add no error, a difference of .001 between {name} and its best "
        f"rival takes: {'; '.join(parts)}. The test days have "
        f"{one['rows']:,} rows of {one['users']:,} users."
    )


def how_sure(study: Json) -> str:
    name = study["subject"]
    families = [
        f"{sum(len(one['towers'][name]['rivals']) for one in of_task.values())} by "
        f"{metric_named(metric).heading}"
        for metric, of_task in study["summary"].items()
    ]
    return (
        "Differences are means over origins and seeds, paired by both. Errors are clustered by "
        "user, over all origins, plus the deviation between seeds, by Student's t; intervals are "
        "95% of one comparison. p is corrected by Holm in families, one for each metric: "
        f"{name} against every rival on every task ({' and '.join(families)}). The best rival is "
        "the one with the highest mean on the test days, which favors the rival. Neither other "
        "days nor what tuning would choose again are covered: the table by origin shows how much "
        "days differ."
    )
