"""What deserves attention in a checked table, errors first."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data.check_table.result import CheckResult, Finding, Severity

MANY_UNSEEN = 0.5
FEW = 0.01
"""Share of rows up to which duplicates and missing keys are a note."""


def findings(result: CheckResult, *, stops: bool) -> tuple[Finding, ...]:
    """Return the findings; `stops`: whether bad rows stop the preparation."""
    found = [
        *_bad(result, stops),
        *_splits(result),
        *_labels(result),
        *_features(result),
        *_duplicates(result),
        *_side_tables(result),
    ]
    order: tuple[Severity, ...] = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _bad(result: CheckResult, stops: bool) -> Iterator[Finding]:
    if result.bad_rows:
        rest = "leave them out with data.on_bad_row skip" if stops else "they are left out"
        text = f"{result.bad_rows:,} of {result.rows:,}; correct them, or {rest}"
        text = text if stops else f"{result.bad_rows:,} of {result.rows:,}; {rest}"
        yield Finding(severity="error" if stops else "warning", what="bad rows", text=text)


def _splits(result: CheckResult) -> Iterator[Finding]:
    for split, rows in result.splits.items():
        if not rows:
            severity: Severity = "error" if split == "train" else "warning"
            text = f"{split} has no rows; change data.split, or add rows"
            yield Finding(severity=severity, what="empty split", text=text)


def _labels(result: CheckResult) -> Iterator[Finding]:
    for task, splits in result.labels.items():
        for split, one in splits.items():
            if one.rows and not one.known:
                text = f"{task} is missing in all rows of {split}"
            elif one.known and one.positives in (0, one.known):
                text = f"{task} is {int(one.positives > 0)} in all rows of {split} that have it"
            else:
                continue
            yield Finding(severity="warning", what="constant label", text=text)


def _features(result: CheckResult) -> Iterator[Finding]:
    for one in result.features:
        if one.constant and result.splits["train"]:
            text = f"{one.name} has {'one value' if one.distinct else 'no value'} in training"
            yield Finding(severity="warning", what="constant feature", text=text)
    for one in sorted(result.features, key=lambda one: -one.psi):
        for split, drift in one.drift.items():
            if drift is not None and drift.severity != "none":
                severity: Severity = "warning" if drift.severity == "large" else "note"
                text = f"{one.name} in {split}: index {drift.psi:.2f}, {drift.severity}"
                yield Finding(severity=severity, what="drift", text=text)
    for one in result.features:
        for split, share in (one.unseen or {}).items():
            if split != "train" and share is not None and share > MANY_UNSEEN:
                text = f"{one.name}: {share:.0%} of the values of {split}"
                yield Finding(severity="warning", what="unseen ids", text=text)


def _duplicates(result: CheckResult) -> Iterator[Finding]:
    about = "" if result.duplicates.exact else "about "
    for split, count in result.duplicates.repeated.items():
        if count:
            share = count / result.splits[split]
            text = f"{about}{count:,} rows of {split} ({share:.2%}) repeat another one of {split}"
            yield Finding(severity=_by_share(share), what="duplicates", text=text)
    for split, count in result.duplicates.also_in_train.items():
        if count:
            share = count / result.splits[split]
            text = f"{about}{count:,} rows of {split} ({share:.2%}) are in training, too"
            yield Finding(severity=_by_share(share), what="duplicates", text=text)


def _side_tables(result: CheckResult) -> Iterator[Finding]:
    for side in result.side_tables:
        if side.missed:
            share = side.missed / result.rows
            text = f"{side.missed:,} rows ({share:.2%}) have a key that is not in {side.name}"
            yield Finding(severity=_by_share(share), what="missing keys", text=text)


def _by_share(share: float) -> Severity:
    return "warning" if share > FEW else "note"
