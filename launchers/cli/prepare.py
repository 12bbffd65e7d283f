"""`homerec prepare`: raw logs to a prepared folder."""

from __future__ import annotations

from pathlib import Path

from launchers.cli.command import new_app

app = new_app("homerec prepare", "Turn raw logs into Parquet that any recipe trains on.")


@app.command
def kuairand(
    *,
    raw: Path,
    out: Path,
    val_from: int = 20220502,
    test_from: int = 20220505,
    max_history: int = 30,
    min_count: int = 2,
    smoothing: float = 20.0,
    frozen_labels: str = "click,long_view,finish",
    vocabulary_from: Path | None = None,
    overwrite: bool = False,
) -> int:
    """The CSV files of KuaiRand (Pure, 1K or 27K).

    Args:
        raw: folder of the CSV files.
        out: prepared folder to write.
        val_from: first day of the validation split, YYYYMMDD.
        test_from: first day of the test split, YYYYMMDD.
        max_history: latest events kept in a history bag.
        min_count: training rows an id needs for a row of its own; rarer ids are hashed.
        smoothing: rows at the overall rate that are added to the statistics of each key.
        frozen_labels: labels, A,B,..., whose user statistics and histories are those of whole
            earlier days and do not change within val and test; '' for none.
        vocabulary_from: prepared folder whose vocabularies to use, to score new days with its
            models.
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
def synthetic(*, out: Path, rows: int = 300_000, seed: int = 0, overwrite: bool = False) -> int:
    """Impressions drawn from a known model, with their true probabilities.

    Args:
        out: prepared folder to write.
        rows: impressions, all splits together.
        seed: seed of the model and of its rows.
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
