"""A rolling study: an experiment that tunes each tower, then runs it at each origin and seed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from models.towers.cost import cost
from pipeline.experiments.experiment import ExperimentRun, RunOutcome, Skipped
from pipeline.experiments.rolling.comparison import compare_towers
from pipeline.experiments.rolling.design import RollingDesign
from pipeline.experiments.rolling.notes import notes
from pipeline.experiments.rolling.predictions import Predictions
from pipeline.experiments.rolling.runs import OriginRun
from pipeline.experiments.rolling.scored import Cell
from pipeline.experiments.rolling.tuning import open_search, own_values, tuned
from pipeline.experiments.same_run import check_same
from pipeline.experiments.search import Search, TrialRun
from pipeline.experiments.study import NAME
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.io.json_types import Json

Key = tuple[str, str, int]
"""Tower, origin, seed."""


class RollingStudy:
    """Runs what is missing: trials first, then runs, all towers of a seed and origin together."""

    def __init__(self, design: RollingDesign, before: Json) -> None:
        """
        Args:
            before: previous study.json; {} for a new study.

        Raises:
            UserError: a folder has a run or search with other settings or data.
        """
        self._design = design
        self._searches = {
            (tower, origin): open_search(
                design.folder(tower, origin) / "tune",
                design.bases[tower, origin],
                design.search,
                retry_failed=not self._uses(tower, origin),
            )
            for origin in design.plan.tuned_at
            for tower in design.plan.options.towers
        }
        self._by_folder = {
            design.folder(*place) / "tune": search for place, search in self._searches.items()
        }
        self._entries: dict[Key, Json] = {}
        for key in self._keys():
            self._note(key, "pending")
        finished = {
            (run["tower"], run["origin"], run["seed"])
            for run in before.get("runs", ())
            if run["status"] == "done"
        }
        for key in self._keys():
            self._read(key, was_finished=key in finished)
        self._waiting = [key for key in self._keys() if self._entries[key]["status"] != "done"]
        self._save({})

    @property
    def total(self) -> int:
        return self._design.plan.num_trials + self._design.plan.num_runs

    @property
    def num_ended(self) -> int:
        trials = sum(search.num_ended for search in self._searches.values())
        return trials + sum(entry["status"] == "done" for entry in self._entries.values())

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield tower and origin of each trial and run that has not ended."""
        for (tower, origin), search in self._searches.items():
            yield from [(tower, origin)] * (search.total - search.num_ended)
        for tower, origin, seed in self._keys():
            if self._entries[tower, origin, seed]["status"] != "done":
                yield tower, origin

    @property
    def footer(self) -> str:
        return ""

    def next_run(self) -> ExperimentRun | Skipped | None:
        for (tower, origin), search in self._searches.items():
            found = search.next_run()
            if isinstance(found, Skipped):
                return Skipped(f"{tower} {origin} {found.text}")
            if found is not None:
                return replace(found, name=f"{tower} {origin} {found.name}")
        if any(search.num_ended < search.total for search in self._searches.values()):
            return None  # a trial is running
        while self._waiting:
            key = self._waiting.pop(0)
            run = self._run(key)
            if isinstance(run, OriginRun):
                return run
            self._note(key, "failed", run)
        return None

    def evaluated(self, run: ExperimentRun, step: int, value: float) -> bool:
        if isinstance(run, TrialRun):
            self._by_folder[run.folder.parent].evaluated(run, step, value)
        return False

    def ended(
        self, run: ExperimentRun, outcome: RunOutcome, error: str | None, seconds: float
    ) -> str:
        if isinstance(run, TrialRun):
            text = self._by_folder[run.folder.parent].ended(run, outcome, error, seconds)
            if outcome == "done":  # only its metrics count
                shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
            place = run.name.partition(" trial ")[0]
            return f"{place} {text}"
        assert isinstance(run, OriginRun)
        key = (run.tower, run.origin, run.seed)
        self._note(key, outcome, error)
        if outcome == "done":
            self._read(key, was_finished=False)
        self._save({})
        return f"{run.name}: " + (f"failed: {error}" if error else outcome)

    def finish(self) -> Json:
        """Compare what has been finished; writes study.json and returns its content.

        Memory: the predictions of all runs, 8 + 5T bytes per test row and run.
        """
        predictions: dict[str, dict[Cell, Predictions]] = {
            tower: {} for tower in self._design.plan.options.towers
        }
        for (tower, origin, seed), entry in self._entries.items():
            if entry["status"] == "done":
                folder = self._design.folder(tower, origin) / f"seed-{seed}"
                predictions[tower][origin, seed] = Predictions.load(folder)
        return self._save(compare_towers(predictions, self._design.head["tasks"]))

    def _keys(self) -> Iterator[Key]:
        """All runs; the towers of an origin and seed together, so that they can be compared."""
        options = self._design.plan.options
        for seed in options.seeds:
            for origin in self._design.plan.origins:
                for tower in options.towers:
                    yield tower, origin.name, seed

    def _run(self, key: Key) -> OriginRun | str:
        """Return the run, or why there is none."""
        tower, origin, seed = key
        search = self._search_of(tower, origin)
        best = search.best()
        if best is None:
            return "no trial of its search has succeeded"
        base = self._design.bases[tower, origin]
        config = tuned(base, best.params, f"{tower} {origin}")
        train = config.train.model_copy(update={"seed": seed})
        folder = self._design.folder(tower, origin) / f"seed-{seed}"
        run = OriginRun(
            name=f"{tower} {origin} seed {seed}",
            folder=folder,
            log=folder.with_name(f"{folder.name}.log"),
            config=config.model_copy(update={"train": train}),
            steps=self._design.steps[origin],
            tower=tower,
            seed=seed,
            origin=origin,
        )
        check_same(run, own_data=True)
        return run

    def _uses(self, tower: str, tuned_at: str) -> bool:
        """Whether a run has started from a search, whose best trial must not change then."""
        plan = self._design.plan
        every = plan.options.tune_at == "every"
        origins = [tuned_at] if every else [origin.name for origin in plan.origins]
        folders = (self._design.folder(tower, origin) for origin in origins)
        return any(any(folder.glob("seed-*/config.json")) for folder in folders)

    def _search_of(self, tower: str, origin: str) -> Search:
        at = origin if (tower, origin) in self._searches else self._design.plan.tuned_at[0]
        return self._searches[tower, at]

    def _read(self, key: Key, *, was_finished: bool) -> None:
        """Read what a finished run has written; one whose folder is removed is to run again."""
        run = self._run(key)
        if isinstance(run, OriginRun) and run.is_over:
            found = run.outcome()
            self._note(key, "done")
            names = ("step", "cpu_seconds", "val", "test")
            self._entries[key] |= {name: found[name] for name in names}  # type: ignore[literal-required]
        elif was_finished and (self._design.out / self._entries[key]["folder"]).exists():
            tower, origin, seed = key
            raise UserError(
                f"{self._design.out}: {tower} {origin} seed {seed} was finished, but its folder "
                "has no outcome.json; restore it, or remove its folder, and --resume trains again"
            )

    def _note(self, key: Key, status: str, error: str | None = None) -> None:
        tower, origin, seed = key
        folder = self._design.folder(tower, origin) / f"seed-{seed}"
        self._entries[key] = {
            "tower": tower,
            "origin": origin,
            "seed": seed,
            "folder": str(folder.relative_to(self._design.out)),
            "status": status,
            "error": error,
            "cpu_seconds": None,
        }

    def _save(self, summary: Json) -> Json:
        study = {
            **self._design.head,
            "tuning": self._tuning(),
            "failed_trials": [
                {"tower": tower, "origin": origin, "trial": trial.trial, "error": trial.error}
                for (tower, origin), search in self._searches.items()
                for trial in search.failed
            ],
            "runs": list(self._entries.values()),
            "summary": summary,
        }
        study["notes"] = notes(study)
        write_json(self._design.out / NAME, study)
        return study

    def _tuning(self) -> Json:
        found: dict[str, dict[str, Any]] = {tower: {} for tower in self._design.plan.options.towers}
        for (tower, origin), search in self._searches.items():
            if (best := search.best()) is not None and search.num_ended == search.total:
                base, features = self._design.bases[tower, origin], self._design.features[origin]
                config = tuned(base, best.params, f"{tower} {origin}")
                of = cost(config.model.tower, features.num_features, features.tower_tasks)
                found[tower][origin] = {
                    "trials": search.num_ended,
                    "best": best.trial,
                    "value": best.value,
                    "untuned": search.value_of(own_values(base, search.dimensions)),
                    "params": best.params,
                    "parameters": of.parameters,
                    "flops": of.flops,
                }
        return found
