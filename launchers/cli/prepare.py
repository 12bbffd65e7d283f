"""`homerec prepare`: writes a prepared folder from raw logs."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import Overrides, new_app

app = new_app("homerec prepare", "Prepare raw logs as Parquet files for training.")


@app.command
def kuairand(
    *,
    raw: Path,
    out: Path,
    val_from: int = 20220502,
    test_from: int = 20220505,
    until: int | None = None,
    early: Path | None = None,
    max_history: int = 30,
    min_count: int = 2,
    smoothing: float = 20.0,
    frozen_labels: str = "click,long_view,finish",
    vocabulary_from: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Prepare KuaiRand's CSV files (Pure, 1K or 27K).

    Args:
        raw: folder of the CSV files.
        out: prepared folder to write.
        val_from: first day of the validation split, YYYYMMDD.
        test_from: first day of the test split, YYYYMMDD.
        until: last day of the test split, YYYYMMDD; later rows are dropped (default: all days).
        early: CSV file (or .csv.gz) of rows before the log with the labels long_view and is_like
            only, and columns pos, history_len and last_time_ms instead of times; they are trained
            on, too, and count in statistics and histories.
        max_history: maximum number of recent events in a history bag.
        min_count: minimum number of training rows of an id in a vocabulary; rarer ids are hashed.
        smoothing: number of rows at the overall rate added to the statistics of each key.
        frozen_labels: labels, A,B,..., whose user statistics and histories use earlier days only
            and do not change within val and test; '' for none.
        vocabulary_from: prepared folder whose vocabularies to use, for scoring new days with
            models trained on it.
        overwrite: replace --out if it exists.
    """
    from launchers.cli.prepare_actions import run_prepare
    from pipeline.data.prepare.kuairand import prepare_kuairand

    return run_prepare(
        out,
        lambda progress: prepare_kuairand(
            raw,
            out,
            val_from=val_from,
            test_from=test_from,
            until=until,
            early=early,
            max_history=max_history,
            min_count=min_count,
            smoothing=smoothing,
            frozen_labels=[name.strip() for name in frozen_labels.split(",") if name.strip()],
            vocabulary_from=vocabulary_from,
            overwrite=overwrite,
            progress=progress,
        ),
        reads=(raw, vocabulary_from),
    )


@app.command
def table(
    *,
    config: Path,
    out: Path | None = None,
    engine: str | None = None,
    overwrite: bool = False,
    overrides: Overrides = (),
) -> int:
    """Prepare a table of your own, as the sections data and features of a configuration say.

    'homerec train' does the same if the prepared folder does not exist.

    Args:
        config: YAML file, such as 'homerec init' writes.
        out: prepared folder to write (default: data.path).
        engine: Spark Connect server that does the work, spark://HOST:PORT; unset: this machine.
        overwrite: replace --out if it exists.
    """
    from launchers.cli.table_actions import prepare

    return prepare(config, out, overrides, overwrite=overwrite, engine=engine)


@app.command
def synthetic(*, out: Path, rows: int = 300_000, seed: int = 0, overwrite: bool = False) -> int:
    """Generate synthetic impressions from a known model, with their true probabilities.

    Args:
        out: prepared folder to write.
        rows: total number of impressions in all splits.
        seed: seed of the model and its rows.
        overwrite: replace --out if it exists.
    """
    from launchers.cli.prepare_actions import run_prepare
    from pipeline.data.prepare.synthetic import prepare_synthetic

    return run_prepare(
        out,
        lambda progress: prepare_synthetic(
            out, rows=rows, seed=seed, overwrite=overwrite, progress=progress
        ),
    )
