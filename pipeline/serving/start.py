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
from pipeline.serving.rank.request import Limits
from pipeline.serving.rank.samples import sample_requests
from pipeline.serving.settings import Settings

_SAMPLES, _CANDIDATES = 50, 30


def open_app(folder: Path, settings: Settings, keys: Keys) -> App:
    """Load a model folder and the formula that was last in use.

    Raises UserError if the folder is damaged, or the formula does not fit the model.
    """
    limits = Limits(settings.max_candidates, settings.max_list)
    served = load(folder, settings.threads, limits, settings.store)
    formulas = Formulas(settings.state, served.formula.text)
    current = formulas.current
    try:
        formula = Formula(current.formula, served.model.tasks)
    except UserError as error:
        raise UserError(f"{settings.state}: {error}; remove it, or give another --state") from error
    samples = [served.json.example()]
    if settings.sample is not None:
        inputs = served.json.inputs
        samples = sample_requests(inputs, settings.sample, _SAMPLES, _CANDIDATES)
    served = served.with_formula(formula, current.version)
    return App(served, formulas, settings, keys, ROUTES, samples)


def state_file(folder: Path) -> Path:
    """Return where the formula of a model folder is kept unless told otherwise: beside it."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}.formula.json")
