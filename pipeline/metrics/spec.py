"""The table of metrics. To add one, add a row here and a test of its function.

results.json, metrics.jsonl, train.select and its help, the final table, reports, studies and
searches use it. From outside the project, append a row to METRICS before training. Does not import
torch, so that configuration and reports load quickly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipeline.metrics.task_rows import TaskRows


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric of one task."""

    name: str
    """Key in results.json and metrics.jsonl, and in train.select=TASK/NAME."""
    heading: str
    """Column heading."""
    function: Callable[[TaskRows], float]
    """Computes the metric from a task's rows; NaN if undefined (for example, only one class)."""
    higher_is_better: bool | None
    """None: best at `no_skill`, like calibration; such a metric cannot select a checkpoint."""
    no_skill: float | None = None
    """Value of a model that predicts the base rate for every row; None: depends on the data."""
    title: str = ""
    """Title of charts; the heading if empty."""
    note: str = ""
    """One-sentence explanation for reports."""
    digits: int = 4
    """Decimals in tables."""
    window: Literal["every line", "once a window", "never"] = "once a window"
    """How often training logs it over the last samples. 'every line' is for functions of TaskSums,
    which are cheap. 'never' is for functions of users, which the window does not have."""
    of_users: bool = False
    """Computed within users, so left out of data without a user column."""
    oracle: bool = False
    """Also report 'oracle_NAME', the metric of the true probabilities, if the data has them."""
    in_tables: bool = True
    """Show it in the final table and in a run's report."""
    headline: bool = False
    """Show it in the answers and charts of a study."""

    def value(self, rows: TaskRows) -> float | None:
        """Return None if undefined, because JSON has no NaN."""
        found = self.function(rows)
        return found if math.isfinite(found) else None


METRICS: list[MetricSpec] = [
    MetricSpec(
        name="auc",
        heading="AUC",
        function=lambda rows: rows.auc,
        higher_is_better=True,
        no_skill=0.5,
        note="Higher is better, 0.5 is chance.",
        oracle=True,
        headline=True,
    ),
    MetricSpec(
        # The mean of the users' AUCs weighted by their rows (by the sums of their rows' weights),
        # over users with both classes.
        name="gauc",
        heading="GAUC",
        function=lambda rows: rows.user_auc.mean,
        higher_is_better=True,
        no_skill=0.5,
        title="AUC within users (GAUC)",
        note="Higher is better, 0.5 is chance.",
        window="never",
        of_users=True,
        oracle=True,
        headline=True,
    ),
    MetricSpec(
        # Normalized entropy: log loss / entropy of the base rate (He et al., ADKDD 2014).
        name="ne",
        heading="NE",
        function=lambda rows: ratio(rows.loss, rows.entropy),
        higher_is_better=False,
        no_skill=1.0,
        title="Normalized entropy",
        note="Lower is better, 1 is predicting the base rate.",
        window="every line",
        oracle=True,
    ),
    MetricSpec(
        # Mean binary cross-entropy in nats.
        name="log_loss",
        heading="log loss",
        function=lambda rows: ratio(rows.loss, rows.weight),
        higher_is_better=False,
        note="Lower is better.",
        window="every line",
        in_tables=False,
    ),
    MetricSpec(
        # Sum of predictions / sum of labels.
        name="calibration",
        heading="calibration",
        function=lambda rows: ratio(rows.predicted, rows.positive_weight),
        higher_is_better=None,
        no_skill=1.0,
        title="Calibration",
        note="Predicted over observed: 1 is perfect.",
        window="every line",
    ),
]


def ratio(numerator: float, denominator: float) -> float:
    """Divide; NaN if the denominator is 0."""
    return numerator / denominator if denominator else math.nan


def metric_named(name: str) -> MetricSpec:
    """Return the metric with this name. Raises KeyError if there is none."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise KeyError(name)


def selectable() -> list[str]:
    """Return the names that train.select=TASK/NAME accepts."""
    return [metric.name for metric in METRICS if metric.higher_is_better is not None]


def headline() -> list[MetricSpec]:
    """Return the metrics in the answers and charts of a study."""
    return [metric for metric in METRICS if metric.headline]


def lower_is_better(select: str) -> bool:
    """Whether a lower value of TASK/NAME is better."""
    return metric_named(select.rpartition("/")[2]).higher_is_better is False


def result_columns() -> list[tuple[str, str, int]]:
    """Yield key in results.json, heading and decimals of each column of a results table."""
    found = []
    for metric in METRICS:
        if metric.in_tables:
            found.append((metric.name, metric.heading, metric.digits))
            if metric.oracle:
                heading = f"oracle's {metric.heading}"
                found.append((f"oracle_{metric.name}", heading, metric.digits))
    return found
