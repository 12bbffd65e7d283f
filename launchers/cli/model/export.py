"""`homerec export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pipeline.io.import_time import no_garbage_collection


def export(
    *,
    checkpoint: str,
    out: Path,
    tables: Literal["fp32", "fp16", "int8"] = "fp32",
    formula: str | None = None,
    data: Annotated[Path | None, Parameter(name="--data.path")] = None,
    compile: Literal["auto", "on", "bf16", "off"] = "auto",
    layout: Literal["folder", "triton"] = "folder",
    overwrite: bool = False,
) -> int:
    """Export a checkpoint as a model folder, to score and serve without it.

    Args:
        checkpoint: folder of a run (its best checkpoint) or of one checkpoint.
        out: the model folder to write.
        tables: number format of the embedding tables.
        formula: ranking score of a row, such as 'click + 2 * like' (default: the sum of all tasks).
        data: prepared folder with the rows to compare on (default: the run's).
        compile: whether to compile the tower; auto: if there is a C++ compiler; bf16: to compute in
            bfloat16.
        layout: a model folder, or a model of Triton Inference Server with one in it.
        overwrite: replace the model in `out`.
    """
    with no_garbage_collection():
        from pipeline.export.export import export as write
        from pipeline.io.console import plain_console, print_line

    console = plain_console(stderr=True)
    manifest = write(
        checkpoint,
        out,
        tables=tables,
        formula=formula,
        data=data,
        compile_tower=compile,
        layout=layout,
        overwrite=overwrite,
        say=lambda line: print_line(console, f"{line} ..."),
    )
    parity = manifest.parity
    assert parity is not None
    size = sum(file.bytes for file in manifest.files.values()) / 1e6
    lines = [
        f"model:    {out} ({size:.1f} MB), tables {tables}, {len(manifest.tasks)} tasks",
        f"parity:   {parity.rows:,} rows, probabilities within {parity.max_difference:.1e} of "
        "evaluation",
        f"formula:  {manifest.formula}",
        f"score:    homerec score --model {out} --input FILES --out FOLDER"
        if layout == "folder"
        else f"serve:    tritonserver --model-repository {out.parent}",
    ]
    for line in lines:
        print_line(plain_console(), line)
    return 0
