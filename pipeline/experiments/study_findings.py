"""Answers of a study in plain sentences: whether HoME is better, on which tasks, by how much, how
certain this is, and whether its experts are healthy."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.experiments.file_types import HOME
from pipeline.experiments.paired import ERRORS, Conclusion, false_positive_rate
from pipeline.experiments.study import (
    has_errors,
    headline_of,
    is_alone,
    most_seeds,
    shared_seeds,
)
from pipeline.experiments.study_health import health_answer
from pipeline.io.json_types import Json
from pipeline.metrics.spec import MetricSpec, metric_named

_CONCLUSIONS: tuple[Conclusion, ...] = ("better", "worse", "inconclusive")


def subject(study: Json) -> str:
    """Return the tower of interest: HoME, or the first one that is not the baseline."""
    towers = [tower for tower in study["towers"] if tower != study["against"]]
    return HOME if HOME in towers else next(iter(towers), study["against"])


def signed(value: float | None) -> str:
    """Format as '+.0031', without a leading 0."""
    return "-" if value is None else f"{value:+.4f}".replace("0.", ".", 1)


def plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def difference_text(found: Json) -> str:
    """Format mean and standard error as '+.0031 ± .0008'."""
    if found["error"] is None:
        return signed(found["mean"])
    return f"{signed(found['mean'])} ± {signed(found['error'])[1:]}"


def answer(study: Json) -> list[tuple[str, str]]:
    """Question and answer, the main one first."""
    if not any(run["status"] == "done" for run in study["runs"]):
        return [("Results", "No run has finished: there is nothing to compare yet.")]
    name = subject(study)
    found = [(f"Is {name} better here?", _against_reference(study, name))]
    if not is_alone(study):
        found.append((f"Is {name} the best of them?", _ranks(study, name)))
        for question, text in (
            ("Which towers see-saw?", _see_saw(study)),
            ("Which parts of HoME help?", _ablations(study)),
        ):
            if text:
                found.append((question, text if has_errors(study) else _ONE_SEED))
    found.append(("How certain is this?", how_sure(study)))
    found.append((f"Are {name}'s experts healthy?", health_answer(study, name)))
    return found


_ONE_SEED = "Inconclusive: one seed has no standard error."


def _against_reference(study: Json, name: str) -> str:
    reference = study["against"]
    if is_alone(study):
        return (
            f"Inconclusive: {name} is the only tower, so there is no difference. "
            "--resume --towers NAME adds another."
        )
    seeds = len(shared_seeds(study, name, reference))
    if seeds == 0:
        return f"Inconclusive: no seed is finished with both {name} and {reference} yet."
    if seeds == 1:
        return (
            f"Inconclusive with one seed. Its differences to {reference} on the "
            f"{study['split']} split, without errors: {_plain_differences(study, name)}"
        )
    counts = [_counts(study, metric, name) for metric in headline_of(study)]
    sentences = [_by_conclusion(study, metric, name) for metric in headline_of(study)]
    low = [
        f"{', '.join(tasks)} ({metric.heading})"
        for metric in headline_of(study)
        if (
            tasks := [
                task
                for task, d in _differences(study, metric, name)
                if d["error"] is not None and d["mean"] < -d["error"]
            ]
        )
    ]
    sentences.append(
        f"More than one standard error below {reference}: {'; '.join(low) or 'no task'}."
    )
    where = f"Against {reference} on the {study['split']} split"
    return f"{where}, {'; '.join(counts)}. " + " ".join(sentences)


def _counts(study: Json, metric: MetricSpec, name: str) -> str:
    """'by AUC better on 2 of 6 tasks, worse on none'."""
    found = [d["conclusion"] for _, d in _differences(study, metric, name)]
    better, worse = (found.count(conclusion) or "none" for conclusion in _CONCLUSIONS[:2])
    return f"by {metric.heading} better on {better} of {len(found)} tasks, worse on {worse}"


def _by_conclusion(study: Json, metric: MetricSpec, name: str) -> str:
    """'AUC: better on click (+.0031 ± .0008); inconclusive on like (...).'"""
    parts = []
    for conclusion in _CONCLUSIONS:
        tasks = [
            f"{task} ({difference_text(found)})"
            for task, found in _differences(study, metric, name)
            if found["conclusion"] == conclusion and found["mean"] is not None
        ]
        if tasks:
            parts.append(f"{conclusion} on {', '.join(tasks)}")
    return f"{metric.heading}: {'; '.join(parts) or 'undefined on every task'}."


def _plain_differences(study: Json, name: str) -> str:
    """'AUC: click +.0031, like -.0002. GAUC: ...'"""
    parts = []
    for metric in headline_of(study):
        found = [
            f"{task} {signed(d['mean'])}"
            for task, d in _differences(study, metric, name)
            if d["mean"] is not None
        ]
        parts.append(f"{metric.heading}: {', '.join(found) or 'undefined on every task'}.")
    return " ".join(parts)


def _differences(study: Json, metric: MetricSpec, name: str) -> Iterable[tuple[str, Json]]:
    for task, towers in study["summary"][metric.name].items():
        if (found := towers[name]["against"]) is not None:
            yield task, found


def _ranks(study: Json, name: str) -> str:
    """Return the tasks on which the tower's mean is highest, and better towers on the others.
    Its ablations are not considered."""
    many = most_seeds(study) > 1
    sentences = [] if many else ["With one seed, whose order may be due to chance:"]
    what = "its mean" if many else "its metric"
    for metric in headline_of(study):
        first, beaten = [], []
        for task, towers in study["summary"][metric.name].items():
            means = {
                tower: row["mean"]
                for tower, row in towers.items()
                if row["mean"] is not None and not tower.startswith(f"{name}-")
            }
            if name not in means or len(means) < 2:
                continue
            best = max(means, key=lambda tower: means[tower])
            if best == name:
                first.append(task)
            else:
                beaten.append(f"{task} ({best}, {plain(means[best])} to {plain(means[name])})")
        text = f"{metric.heading}: {what} is the highest on {', '.join(first) or 'no task'}"
        sentences.append(text + (f"; not on {', '.join(beaten)}." if beaten else "."))
    return " ".join(sentences)


def _see_saw(study: Json) -> str:
    """Return towers that gain on one task and lose on another."""
    swings, steady = [], []
    for tower in study["towers"]:
        found = {
            task: d["conclusion"] for task, d in _differences(study, metric_named("auc"), tower)
        }
        if not found:
            continue
        up, down = ([t for t, v in found.items() if v == kind] for kind in ("better", "worse"))
        if up and down:
            swings.append(f"{tower} (up on {', '.join(up)}, down on {', '.join(down)})")
        else:
            steady.append(tower)
    if not swings and not steady:
        return ""
    what = f"Better than {study['against']} on one task and worse on another, by AUC: "
    if not swings:
        return what + "none."
    others = f" Not: {', '.join(steady)}." if steady else ""
    return what + "; ".join(swings) + f".{others}"


def _ablations(study: Json) -> str:
    """Return the tasks on which ablations of HoME are worse or better than HoME."""
    sentences = []
    for tower in ablations(study):
        moved = [
            f"{conclusion} on {', '.join(tasks)} ({metric.heading})"
            for metric in headline_of(study)
            for conclusion in ("worse", "better")
            if (
                tasks := [
                    task
                    for task, row in study["summary"][metric.name].items()
                    if row[tower]["home"]["conclusion"] == conclusion
                ]
            )
        ]
        sentences.append(f"{tower}: {', '.join(moved) or 'inconclusive on any task'}.")
    return "Compared with complete HoME. " + " ".join(sentences) if sentences else ""


def ablations(study: Json) -> list[str]:
    """Return the ablations of HoME, if HoME is in the study."""
    if HOME not in study["towers"]:
        return []
    return [tower for tower in study["towers"] if tower.startswith(f"{HOME}-")]


def how_sure(study: Json) -> str:
    """Explain ±, and how often differences occur by chance."""
    name = subject(study)
    n = len(shared_seeds(study, name, study["against"]))
    if n < 2:
        return (
            f"Not certain: {'one seed has' if n else 'without seeds there is'} no standard error, "
            "so there is no conclusion. Use --seeds 4 or more."
        )
    if is_alone(study):
        return (
            f"There is no difference to test. ± after a mean is the standard deviation over {n} "
            f"seeds of {name}'s metric."
        )
    odds = false_positive_rate(n)
    count = sum(
        1
        for metric in headline_of(study)
        for _, d in _differences(study, metric, name)
        if d["n"] > 1
    )
    weak = "This is a weak test: w" if n < 8 else "W"
    return (
        f"Differences are paired by seed, over {n} seeds; ± is one standard error. A tower is "
        f"reported as better or worse beyond {ERRORS:.0f} standard errors. {weak}ith {n} seeds, "
        f"{100 * odds:.0f}% of comparisons between equal towers would report a difference, so "
        f"about {odds * count:.1f} of the {count} between {name} and {study['against']} would be "
        "by chance. The errors cover seed variance only, not other users or days."
    )
