"""Loads what a server needs."""

from __future__ import annotations

from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.serving.http.app import App
from pipeline.serving.http.keys import Keys
from pipeline.serving.http.routes import ROUTES
from pipeline.serving.model.formulas import Formulas
from pipeline.serving.model.served import load
from pipeline.serving.settings import Settings


def open_app(folder: Path, settings: Settings, keys: Keys) -> App:
    """Load a model folder and the formula that was last in use.

    Raises UserError if the folder is damaged, or the formula does not fit the model.
    """
    served = load(folder, settings.threads, settings.max_candidates, settings.store)
    formulas = Formulas(settings.state, served.formula.text)
    current = formulas.current
    try:
        formula = Formula(current.formula, served.model.tasks)
    except UserError as error:
        raise UserError(f"{settings.state}: {error}; remove it, or give another --state") from error
    return App(served.with_formula(formula, current.version), formulas, settings, keys, ROUTES)


def state_file(folder: Path) -> Path:
    """Return where the formula of a model folder is kept unless told otherwise: beside it."""
    return folder.with_name(f"{folder.name}.formula.json")
