"""`homerec checkpoint`: list, verify, show and prune the checkpoints of a run."""

from __future__ import annotations

from launchers.cli.command import new_app

app = new_app("homerec checkpoint", "List, verify, show and prune the checkpoints of a run.")


@app.command
def ls(path: str, /, *, json: bool = False) -> int:
    """List the checkpoints of a run; check that their files exist with the right size.

    Args:
        path: folder of a run, or its address (s3://...).
        json: print JSON.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.ls(path, json=json)


@app.command
def verify(path: str, /, *, json: bool = False) -> int:
    """Read every byte of each checkpoint. Exit code 1 if one is corrupt.

    Args:
        path: folder of a run or of one checkpoint, or its address (s3://...).
        json: print JSON.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.verify(path, json=json)


@app.command
def show(path: str, /, *, json: bool = False) -> int:
    """Show a summary of a checkpoint.

    Args:
        path: folder of a checkpoint or of a run (its best one), or its address (s3://...).
        json: print JSON, with the shape and type of each tensor.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.show(path, json=json)


@app.command
def prune(
    path: str,
    /,
    *,
    keep: int | None = None,
    keep_every: int | None = None,
    corrupt: bool = False,
    outside: bool = False,
    dry_run: bool = False,
) -> int:
    """Delete checkpoints that no rule keeps. Corrupt ones never count as kept.

    Args:
        path: folder of a run, or its address (s3://...).
        keep: number of newest checkpoints to keep (default: the run's checkpoint.keep).
        keep_every: steps; keep the first checkpoint at or after each multiple (default: the run's).
        corrupt: also delete corrupt checkpoints.
        outside: also delete checkpoints outside the run's folder (checkpoint.path or a link).
        dry_run: only list the checkpoints that would be deleted.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.prune(
        path,
        keep=keep,
        keep_every=keep_every,
        corrupt=corrupt,
        outside=outside,
        dry_run=dry_run,
    )
