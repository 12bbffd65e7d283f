"""Scores a request and orders its candidates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.io.arrays import Float32Array, IntArray
from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.scoring.model import ExportedModel
from pipeline.serving.http.answers import invalid
from pipeline.serving.rank.request import RankRequest


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in the order of the request, or the best first."""

    probabilities: Float32Array
    """[rows, tasks]"""
    score: Float32Array
    """[rows]; NaN or infinite where the formula is."""
    order: IntArray | None
    """Place of each row in the request; None: in the order of the request."""
    ids: pa.Array | None
    unknown: Counter[str] = field(default_factory=Counter)
    """Ids outside the vocabulary, by feature."""
    missing: Counter[str] = field(default_factory=Counter)
    """Keys that the store does not have, by key."""


def rank(model: ExportedModel, formula: Formula, request: RankRequest) -> Ranking:
    """Score and order. Raises HttpError for a value without meaning."""
    unknown: Counter[str] = Counter()
    try:
        probabilities = _score(model, request, unknown)
    except UserError as error:
        raise invalid(str(error)) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        # A value of a type that the features cannot be made of, such as a time beyond all years.
        reason = str(error).splitlines()[0]
        raise invalid(f"the features cannot be made of these values: {reason}") from error
    score = formula(probabilities)
    if not request.sort and request.top is None:
        return Ranking(probabilities, score, None, request.ids, unknown)
    order = best_first(score)[: request.top]
    ids = None if request.ids is None else request.ids.take(pa.array(order))
    return Ranking(probabilities[order], score[order], order, ids, unknown)


def best_first(score: Float32Array) -> IntArray:
    """Return row numbers: the largest score first, equal ones as they come, NaN last."""
    order: IntArray = np.argsort(-score, kind="stable")
    return order


def _score(model: ExportedModel, request: RankRequest, unknown: Counter[str]) -> Float32Array:
    rows = len(request.items)
    if not rows:
        return np.empty((0, len(model.tasks)), dtype=np.float32)
    if not request.shared.num_columns:
        return model.score(request.items, unknown, candidate)
    if not request.items.num_columns:  # candidates that do not differ
        return np.repeat(model.score(request.shared, unknown, lambda row: "user"), rows, axis=0)
    return model.score_request(request.shared, request.items, unknown)


def candidate(row: int) -> str:
    """Return how a candidate is named in messages."""
    return f"candidates[{row}]"
