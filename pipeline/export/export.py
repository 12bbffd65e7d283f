"""Exports a checkpoint as a model folder: all that is needed to score and to serve.

The folder is written under another name and renamed when it is complete and agrees with
evaluation, so that a model folder is always whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from models.tower import TowerFactory
from pipeline.checkpoint.layout import find_checkpoint
from pipeline.checkpoint.manifest import NAME as CHECKPOINT
from pipeline.checkpoint.manifest import digest, read_manifest
from pipeline.config.tree import Config
from pipeline.data.prepare.writer import version
from pipeline.data.schema import Schema
from pipeline.data.table.folder import TableFile, load_table
from pipeline.export.needed_rows import evaluated
from pipeline.export.parity import check_parity, compare, sample_rows, worst
from pipeline.export.saved_model import SavedModel
from pipeline.export.table_files import write_tables
from pipeline.export.tower_files import Compile, dense_weights, write_tower
from pipeline.export.triton import MODEL, check_triton_name, write_triton
from pipeline.io.errors import UserError
from pipeline.io.storage import AnyPath, exchange, remove_tree
from pipeline.io.typed_json import read_typed
from pipeline.predict import batches
from pipeline.report.file_types import ResultsFile
from pipeline.scoring.formula import Formula, default_formula
from pipeline.scoring.manifest import (
    NAME,
    Manifest,
    Origin,
    Parity,
    TableType,
    TaskRecord,
    file_record,
)
from pipeline.scoring.model import ExportedModel
from pipeline.scoring.program_folder import save_program
from pipeline.scoring.tower import available
from pipeline.training.resolve_features import Selection, resolve_features

Say = Callable[[str], None]
Layout = Literal["folder", "triton"]
_BATCH = 4096


def export(
    checkpoint: str | AnyPath,
    out: Path,
    *,
    tables: TableType = "fp32",
    formula: str | None = None,
    data: Path | None = None,
    compile_tower: Compile = "auto",
    layout: Layout = "folder",
    overwrite: bool = False,
    tower: TowerFactory | None = None,
    say: Say = lambda line: None,
) -> Manifest:
    """Write the model folder `out`.

    Args:
        checkpoint: folder of a run (its best checkpoint) or of one checkpoint.
        tables: number format of the embedding tables.
        formula: ranking formula; None: the sum of all tasks' probabilities.
        data: the prepared folder to compare on; None: that of the run.
        compile_tower: whether to compile the tower with AOTInductor; auto: if there is a compiler;
            bf16: to compute in bfloat16.
        layout: a model folder, or a model of Triton Inference Server that contains one.
        tower: the tower of the run, if it is not that of its configuration.
        say: told what is being done, line by line.

    Raises:
        UserError: the checkpoint is corrupt, the folder exists, or the exported model does not
            agree with evaluation. Nothing is left then.
    """
    inside = MODEL if layout == "triton" else Path()
    if layout == "triton":
        check_triton_name(out)
    _check_out(out, inside, overwrite=overwrite)
    folder = find_checkpoint(checkpoint)
    config = Config.load(folder / "config.json")
    if data is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": data})})
    trained = Schema.load(folder)
    schema = trained.with_splits_of(Schema.load(config.data.path), config.data.path)
    chosen = resolve_features(config, schema)
    text = default_formula(chosen.tasks) if formula is None else formula
    Formula(text, chosen.tasks)
    rows = sample_rows(config, chosen)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be created: {error.strerror}; give another --out"
        ) from error
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        partial = Path(name) / "model" / inside
        partial.mkdir(parents=True)
        saved = SavedModel(folder)
        manifest = _write(partial, saved, config, chosen, tables, text, compile_tower, tower, say)
        say(f"comparing {len(rows):,} rows with evaluation")
        batched = list(batches(rows, chosen, config, _BATCH))
        expected = evaluated(saved, config, chosen, batched, tower)[: len(rows)]
        found: dict[str, Parity] = {}
        for form in available(partial, manifest, manifest.compiled_for):
            model = ExportedModel.load(partial, form=form, verify=False)
            found[form] = compare(expected, model.score_prepared(rows), rows, chosen)
            check_parity(found[form], manifest, tables, form)
        manifest = manifest.model_copy(update={"parity": worst(found)})
        manifest.save(partial)
        if layout == "triton":
            write_triton(Path(name) / "model", out.name)
        _put(Path(name) / "model", out)
    return manifest


def _check_out(out: Path, inside: Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder for the model with --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / inside / NAME).is_file():
        raise UserError(f"{out}: is not empty and not an exported model; give another --out")
    if not overwrite:
        raise UserError(f"{out}: contains a model; pass --overwrite, or give another --out")


def _put(partial: Path, out: Path) -> None:
    """Put the folder in its place, in one step."""
    if not out.exists():
        partial.rename(out)
    elif exchange(partial, out):
        remove_tree(partial)
    else:  # a file system without exchange: for a moment, there is no model
        remove_tree(out)
        partial.rename(out)


def _write(
    partial: Path,
    saved: SavedModel,
    config: Config,
    chosen: Selection,
    tables: TableType,
    formula: str,
    compile_tower: Compile,
    tower: TowerFactory | None,
    say: Say,
) -> Manifest:
    """Write all files, the manifest last, without parity."""
    record = load_table(config.data.path)
    say("writing the tower")
    compiled_for = write_tower(
        partial,
        dense_weights(saved.dense()),
        config,
        chosen,
        tower=tower,
        compile_tower=compile_tower,
    )
    say("writing the tables")
    written = write_tables(partial, saved, config, chosen, tables, record)
    if record is not None:
        used = set(chosen.schema.feature_names)
        features = {name: one for name, one in record.spec.features.items() if name in used}
        save_program(partial, features, record.fitted(config.data.path))
    paths = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest = Manifest(
        tasks=tuple(TaskRecord(name=t.name, category=t.category) for t in chosen.tower_tasks),
        formula=formula,
        has_program=record is not None,
        sparse=chosen.features,
        averaged=chosen.averaged,
        pooled=tuple(chosen.pooled),
        dense=chosen.schema.dense,
        tables=written,
        attention=chosen.attention,
        tower=None if tower is not None else config.model.tower,
        compiled_for=compiled_for,
        compiled_dtype="bf16" if compile_tower == "bf16" else "fp32",
        parity=None,
        origin=_origin(saved.folder, config, chosen, record),
        files={path.relative_to(partial).as_posix(): file_record(path) for path in paths},
    )
    manifest.save(partial)
    return manifest


def _origin(folder: AnyPath, config: Config, chosen: Selection, record: TableFile | None) -> Origin:
    results = folder / "results.json"
    remedy = "export another checkpoint of the run"
    return Origin(
        run=str(folder),
        checkpoint=digest(folder / CHECKPOINT).sha256,
        step=read_manifest(folder).step,
        made_by=f"homerec {version()}",
        dataset=chosen.schema.dataset,
        rows={name: one.rows for name, one in chosen.schema.splits.items()},
        split=None if record is None else record.spec.split.model_dump(mode="json"),
        metrics=read_typed(results, ResultsFile, remedy=remedy) if results.is_file() else None,
        config=config.model_dump(mode="json"),
    )
