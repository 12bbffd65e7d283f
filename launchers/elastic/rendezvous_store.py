"""The rendezvous store of a job, in a separate process."""

from __future__ import annotations

from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in __all__

from pipeline.io.errors import UserError


def open_rendezvous_store(port: int) -> TCPStore:
    """Listen on `port` of this machine (0: any free port; see `.port`) while the object exists.

    Raises UserError if the port is in use.
    """
    try:
        return TCPStore(
            "localhost",
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=60),
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"command line: --port {port}: {reason}; use another port, or 0 for any free one"
        ) from error
