"""Lease on a checkpoint folder, held by the run that started last. Needs no locks.

Two runs that save to one folder would remove each other's checkpoints. Therefore a run writes its
id at the start and checks it before each save. A run that finds another id (because it was started
twice, or assumed dead) stops.
"""

from __future__ import annotations

import os
import socket
import time
import uuid

from pipeline.checkpoint.file_types import LeaseFile
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from pipeline.io.storage import AnyPath
from pipeline.io.typed_json import read_typed

_NAME = "lease.json"


class Lease:
    """This process's lease on `folder`."""

    def __init__(self, folder: AnyPath) -> None:
        self._path = folder / _NAME
        self._run = uuid.uuid4().hex

    def acquire(self) -> None:
        """Acquire the lease, also from another run. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {"run": self._run, "host": socket.gethostname(), "pid": os.getpid(), "began": began}
        write_json(self._path, who)

    def check(self) -> None:
        """Raise UserError if another run has acquired the lease."""
        remedy = "remove it and resume with --resume"
        who = read_typed(self._path, LeaseFile, remedy=remedy)
        if who["run"] != self._run:
            raise UserError(
                f"{self._path.parent}: another run has been saving here since {who['began']} "
                f"(process {who['pid']} on {who['host']}), so this one stops; give one of them "
                "another --out (or checkpoint.path)"
            )
