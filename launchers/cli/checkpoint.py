"""`homerec checkpoint`: list, verify, show and prune the checkpoints of a run."""

from __future__ import annotations

from launchers.cli.command import new_app

app = new_app("homerec checkpoint", "List, verify, show and prune the checkpoints of a run.")


@app.command
def ls(where: str, /, *, json: bool = False) -> int:
    """One line for each checkpoint; checks that its files exist and have their size.

    Args:
        where: folder of a run, or its address (s3://...).
        json: one JSON list.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.ls(where, json=json)


@app.command
def verify(where: str, /, *, json: bool = False) -> int:
    """Read every byte; the exit code is 1 if a checkpoint is corrupt.

    Args:
        where: folder of a run or of one checkpoint, or its address (s3://...).
        json: one JSON list.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.verify(where, json=json)


@app.command
def show(where: str, /, *, json: bool = False) -> int:
    """A summary of one checkpoint.

    Args:
        where: folder of a checkpoint or of a run (its best one), or its address (s3://...).
        json: one JSON object, with each tensor's shape and type.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.show(where, json=json)


@app.command
def prune(
    where: str,
    /,
    *,
    keep: int | None = None,
    keep_every: int | None = None,
    corrupt: bool = False,
    outside: bool = False,
    dry_run: bool = False,
) -> int:
    """Delete checkpoints that no rule keeps. A corrupt one never counts as kept.

    Args:
        where: folder of a run, or its address (s3://...).
        keep: number of newest ones to keep (default: the run's checkpoint.keep).
        keep_every: steps; the first one at or after each multiple is kept (default: the run's).
        corrupt: delete corrupt ones, too.
        outside: delete also where checkpoint.path or a link leads out of the run's folder.
        dry_run: only list what would be deleted.
    """
    from launchers.cli import checkpoint_actions

    return checkpoint_actions.prune(
        where,
        keep=keep,
        keep_every=keep_every,
        corrupt=corrupt,
        outside=outside,
        dry_run=dry_run,
    )
