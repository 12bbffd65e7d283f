"""Train on a data frame from Python. These classes and their methods are the public interface.

    import polars as pl
    from pipeline.api import Recipe

    frame = pl.read_parquet("logs.parquet")            # or a pandas frame
    recipe = Recipe.propose(frame, labels=["click", "like"], user="user_id", time="ts")
    model = recipe.fit(frame, "runs/own")
    print(model.evaluate("test")["click"]["auc"])
    probabilities = model.predict(frame)               # one column per task

One process on one device trains; `Recipe.save` writes the configuration for 'homerec launch'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from pipeline.config.auto import override
from pipeline.config.overrides import parse, resolve
from pipeline.config.propose_yaml import Source, proposal_yaml
from pipeline.config.tree import Config, build
from pipeline.data.sources.config import FilesConfig
from pipeline.features.inference.proposal import propose
from pipeline.features.inference.wishes import Wishes
from pipeline.io.errors import UserError
from pipeline.io.files import write_text

Frame = Any
"""A Polars or pandas data frame."""
_SAMPLE = 100_000


@dataclass(frozen=True)
class Recipe:
    """What the columns of a table mean, and how to train on it."""

    config: Config
    """The whole configuration; docs/reference/configuration.md describes its fields."""
    text: str
    """The same as commented YAML, as far as it was proposed."""

    @staticmethod
    def propose(
        frame: Frame,
        *,
        labels: Sequence[str] = (),
        user: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        split: str | None = None,
        drop: Sequence[str] = (),
    ) -> Recipe:
        """Propose a recipe, as 'homerec init' does, from up to 100,000 rows.

        Args:
            frame: Polars or pandas data frame.
            labels: columns to predict; empty: found by their names.
            user: column of users, for GAUC; None: found by its name.
            time: column of times, for the split and features; None: found.
            weight: column of row weights.
            split: time, random or column:NAME; None: time if there is one.
            drop: columns to leave out.

        Raises:
            UserError: a column does not exist, or nothing is left to learn from.
        """
        table = _polars(frame)
        step = max(1, len(table) // _SAMPLE)
        wishes = Wishes(
            labels=tuple(labels),
            user=user,
            time=time,
            weight=weight,
            split=split,
            drop=tuple(drop),
            rows=len(table),
        )
        found = propose(table.gather_every(step), wishes)
        source = Source(FilesConfig(path=("table.parquet",)), (), Path("data/table"))
        text = proposal_yaml(found, source, Path("recipe.yaml"))
        return Recipe.from_yaml(text)

    @staticmethod
    def load(path: str | Path) -> Recipe:
        """Load a YAML file. Raises UserError if it is none, or has unknown fields."""
        return Recipe(resolve(None, Path(path), ()), Path(path).read_text(encoding="utf-8"))

    @staticmethod
    def from_yaml(text: str) -> Recipe:
        """Load the text of a YAML file."""
        from pipeline.config.propose_yaml import check_yaml

        return Recipe(check_yaml(text, "recipe.yaml"), text)

    def set(self, **fields: Any) -> Recipe:
        """Return a recipe with other values, by dotted name:
        `recipe.set(**{"train.epochs": 2, "model.tower.kind": "mmoe"})`."""
        words = [word for name, value in fields.items() for word in (f"--{name}", str(value))]
        tree = override(self.config.model_dump(mode="json"), parse(words))
        return Recipe(build(tree, where="Recipe.set"), self.text)

    def save(self, path: str | Path) -> None:
        """Write all fields as a configuration file for 'homerec train --config'."""
        write_text(Path(path), self.config.model_dump_json(indent=1) + "\n")

    def fit(
        self, frame: Frame | None = None, out: str | Path = "runs/own", *, overwrite: bool = False
    ) -> Model:
        """Prepare the table, train, and return the model at its best checkpoint.

        Args:
            frame: rows to train on; None: the files of `data.source`. A copy of the frame, and what
                is prepared from it, are written to the folder `out`-data.
            out: folder of the run.
            overwrite: replace both folders if they exist.

        Raises:
            UserError: a folder exists, a value is invalid.
        """
        from pipeline.data.table.existing import is_prepared
        from pipeline.data.table.prepare import prepare_table
        from pipeline.ranks.world import open_world
        from pipeline.train import train

        folder = Path(out)
        config = self.config
        if frame is not None:
            data = folder.with_name(f"{folder.name}-data")
            if not overwrite and (data / "prepared").exists():
                raise UserError(
                    f"{data}: already exists; give Recipe.fit another `out`, or overwrite=True"
                )
            config = self._on_frame(_polars(frame), data)
        spec = config.table_spec()
        if spec is None:
            raise UserError("Recipe.fit: no frame, and the recipe has no data.source; pass a frame")
        if frame is not None or not is_prepared(spec, config.data.path, config.data.encode):
            prepare_table(
                spec,
                config.data.path,
                encode=config.data.encode,
                overwrite=overwrite,
                progress=lambda done, total, what: None,
            )
        with open_world(config.train.timeout) as world:
            train(config, folder, world, overwrite=overwrite)
        return Model(folder)

    def _on_frame(self, frame: pl.DataFrame, folder: Path) -> Config:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "table.parquet"
        frame.write_parquet(path)
        data = self.config.data.model_copy(
            update={"source": FilesConfig(path=(str(path),)), "path": folder / "prepared"}
        )
        return self.config.model_copy(update={"data": data})


@dataclass(frozen=True)
class Model:
    """A trained model: the best checkpoint of a run."""

    folder: Path
    """Folder of the run, or of one checkpoint."""

    def evaluate(
        self, split: Literal["train", "val", "test"] = "test"
    ) -> dict[str, dict[str, float | None]]:
        """Return metrics by task: auc, gauc, log_loss, ... (None if undefined); and for each label
        with limits: expected, observed, mae, rmse, in its unit."""
        from pipeline.evaluate import evaluate_checkpoint
        from pipeline.ranks.world import open_world

        with open_world() as world:
            results, what = evaluate_checkpoint(str(self.folder), split, None, world)
        return {name: dict(one) for name, one in (results | what.get("amounts", {})).items()}

    def predict(self, frame: Frame) -> pl.DataFrame:
        """Return the probability of each task for each row, and the expected value of each label
        with limits. Labels are not needed.

        Raises UserError for a missing column or an invalid value.
        """
        from pipeline.predict import predict
        from pipeline.ranks.world import open_world

        with open_world() as world:
            return predict(str(self.folder), _polars(frame), world)

    def export(
        self,
        out: str | Path,
        *,
        tables: Literal["fp32", "fp16", "int8"] = "fp32",
        formula: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write a model folder, which scores and serves without the run; returns the folder.

        Args:
            out: the folder.
            tables: number format of the embedding tables.
            formula: ranking score of a row, such as 'click + 2 * like'; None: the sum of all tasks.
            overwrite: replace the model in `out`.

        Raises UserError if the folder exists, or the exported model differs from evaluation.
        """
        from pipeline.export.export import export

        export(str(self.folder), Path(out), tables=tables, formula=formula, overwrite=overwrite)
        return Path(out)


def _polars(frame: Frame) -> pl.DataFrame:
    if isinstance(frame, pl.DataFrame):
        return frame
    if hasattr(frame, "to_arrow"):
        return pl.DataFrame(frame)
    try:
        return pl.from_pandas(frame)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{type(frame).__name__}: not a Polars or pandas data frame; pass one"
        ) from error
