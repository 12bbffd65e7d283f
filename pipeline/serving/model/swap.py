"""Replaces the model of a running server: loaded and verified beside it, then swapped in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.scoring.inputs import Input
from pipeline.serving.http.answers import HttpError
from pipeline.serving.model.formulas import Formulas
from pipeline.serving.model.served import Served, load


def load_beside(folder: Path, running: Served, threads: int, kept: Formulas) -> Served:
    """Load a model that can take the place of `running`. Runs in a thread.

    A formula that was changed by request stays; otherwise the model's own is used.

    Raises HttpError 409 with the reason if the folder is damaged, was not compared with
    evaluation, needs other columns, or lacks a task of the formula.
    """
    try:
        store = None if running.store is None else running.store.folder
        found = load(folder, threads, running.json.limits, store)
        check_inputs(running.model.inputs, found.model.inputs)
        if kept.current.source == "changed":
            formula = Formula(kept.formula, found.model.tasks)
            found = found.with_formula(formula, kept.current.version)
    except UserError as error:
        raise HttpError(
            409, "model_refused", f"{error}; {running.model.folder} serves on"
        ) from error
    return found


def check_inputs(running: Sequence[Input], new: Sequence[Input]) -> None:
    """Raise UserError if requests for one model are not requests for the other."""
    before = {one.name: one for one in running}
    for one in new:
        if one.name not in before:
            raise UserError(
                f"column {one.name!r}: the running model does not read it, so requests lack it"
            )
        if _kind(one) != _kind(before[one.name]):
            raise UserError(
                f"column {one.name!r}: is of kind {_kind(one)!r}, {_kind(before[one.name])!r} in "
                "the running model"
            )
    names = {one.name for one in new}
    for name in before:
        if name not in names:
            raise UserError(f"column {name!r}: the new model does not read it, requests have it")


def _kind(one: Input) -> str:
    listed = " list" if one.is_list else ""
    return f"{one.kind}{listed}" if one.type is None else f"{one.kind}{listed} ({one.type})"
