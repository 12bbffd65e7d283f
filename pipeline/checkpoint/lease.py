"""Lease on a folder of checkpoints, held by the run that began last. Needs no locks.

Two runs that save into one folder would remove each other's checkpoints. A run therefore writes its
id when it begins and checks it before each save. A run that finds another id (it was started twice,
or taken for dead) ends.
"""

from __future__ import annotations

import os
import socket
import time
import uuid

from pipeline.io.errors import UserError
from pipeline.io.files import read_json, write_json
from pipeline.io.storage import AnyPath

_NAME = "lease.json"


class Lease:
    """This process's lease on `folder`."""

    def __init__(self, folder: AnyPath) -> None:
        self._path = folder / _NAME
        self._run = uuid.uuid4().hex

    def acquire(self) -> None:
        """Take the lease from whoever holds it. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {"run": self._run, "host": socket.gethostname(), "pid": os.getpid(), "began": began}
        write_json(self._path, who)

    def check(self) -> None:
        """Raise UserError if another run has acquired the lease since."""
        remedy = "remove it and resume with --resume"
        who = read_json(self._path, needs=("run", "host", "pid", "began"), remedy=remedy)
        if who["run"] != self._run:
            raise UserError(
                f"{self._path.parent}: another run saves here since {who['began']} (process "
                f"{who['pid']} on {who['host']}), so this one ends; give one of them another "
                "--out (or checkpoint.path)"
            )
