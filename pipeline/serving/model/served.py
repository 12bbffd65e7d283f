"""A model that is ready to answer requests. It never changes: another one takes its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.scoring.formula import Formula
from pipeline.scoring.model import ExportedModel
from pipeline.serving.http.answers import ARROW, HttpError
from pipeline.serving.rank.ranking import Ranking, rank
from pipeline.serving.rank.read_arrow import read_arrow
from pipeline.serving.rank.read_json import JsonReader
from pipeline.serving.rank.request import Limits, check_columns, check_lists
from pipeline.serving.rank.write import write_arrow, write_json
from pipeline.serving.store.store import Store


@dataclass(frozen=True, slots=True)
class Served:
    """A model with its formula, the reader of its requests, and its feature store."""

    model: ExportedModel
    formula: Formula
    formula_version: int
    json: JsonReader
    store: Store | None

    def with_formula(self, formula: Formula, version: int) -> Served:
        """Return the same model with another formula."""
        return replace(self, formula=formula, formula_version=version)

    def open_store(self, folder: Path) -> Served:
        """Return the same model with the store as it is now. Raises UserError if it is damaged."""
        return self.with_store(Store(folder, self.json.inputs))

    def with_store(self, store: Store | None) -> Served:
        """Return the same model with a store that was opened for the same columns."""
        keys = () if store is None else store.keys
        json = JsonReader(self.model.inputs, self.json.limits, keys)
        return replace(self, store=store, json=json)

    def answer(self, body: bytes, kind: str, wanted: str) -> tuple[bytes, Ranking]:
        """Return a request's ranking in the type `wanted`. Runs in a thread.

        Raises HttpError for a body of type `kind` that is no request for this model.
        """
        request = read_arrow(body, self.json) if kind == ARROW else self.json.read(body)
        missing: Counter[str] = Counter()
        if self.store is not None:
            request = self.store.fill(request, missing)
        check_columns(request, self.json.inputs)
        check_lists(request, self.json.inputs, self.json.limits.list_values)
        ranking = replace(rank(self.model, self.formula, request), missing=missing)
        about = {"model": self.model.digest, "formula_version": self.formula_version}
        write = write_arrow if wanted == ARROW else write_json
        return write(ranking, self.model.tasks, about), ranking


def load(folder: Path, threads: int, limits: Limits, store: Path | None) -> Served:
    """Load a model folder and score a made-up candidate, so that no request is the first.

    Raises UserError if the folder is damaged, was not compared with evaluation, or the store was
    loaded for other columns.
    """
    model = ExportedModel.load(folder, threads)
    served = Served(model, model.formula, 1, JsonReader(model.inputs, limits), None)
    try:
        served.answer(served.json.example(1), "", "")
    except HttpError as error:
        raise UserError(f"{folder}: cannot score a candidate: {error}") from error
    return served if store is None else served.open_store(store)
