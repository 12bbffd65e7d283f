"""Whose a folder of checkpoints is: the run that began last. Works on any store, without locks.

Two runs that save into one folder would drop each other's checkpoints, and a resume would mix
them. So a run writes its name there when it begins and looks for it before each save; one that
finds another's name has been replaced (started twice, or taken for dead) and ends.
"""

from __future__ import annotations

import os
import socket
import time
import uuid

from pipeline.io.errors import UserError
from pipeline.io.files import read_json, write_json
from pipeline.io.storage import AnyPath

_NAME = "owner.json"


class Owner:
    """This process's claim on a folder."""

    def __init__(self, folder: AnyPath) -> None:
        self._path = folder / _NAME
        self._run = uuid.uuid4().hex

    def claim(self) -> None:
        """From here on the folder is ours. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {"run": self._run, "host": socket.gethostname(), "pid": os.getpid(), "began": began}
        write_json(self._path, who)

    def check(self) -> None:
        """UserError if another run has claimed it since."""
        remedy = "remove it and go on with --resume"
        who = read_json(self._path, needs=("run", "host", "pid", "began"), remedy=remedy)
        if who["run"] != self._run:
            raise UserError(
                f"{self._path.parent}: another run saves here since {who['began']} (process "
                f"{who['pid']} on {who['host']}), so this one ends; give one of them another "
                "--out (or checkpoint.path)"
            )
