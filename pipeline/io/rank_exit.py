"""Records how a rank ended, in a JSON file for its launcher.

torchrun defines the file, error.json next to the rank's stderr.log (TORCHELASTIC_ERROR_FILE). The
layout is TorchElastic's with an additional object in "extraInfo". The agent of a machine writes the
end of the rank that failed first to the file that TorchX defines. There is no file if the rank
succeeded, a signal killed it, or no launcher requested one.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.io.errors import RankLost, UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.files import write_text

_VARIABLE = "TORCHELASTIC_ERROR_FILE"
_KEY = "homerec"
# Disk errors that the user must fix: full, over quota, read-only, no permission.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_ORDER: dict[int, int] = {
    ExitCode.USER_ERROR: 0,
    # The earlier of the two is the cause: torchrun stops the peers of a rank that fails, and a rank
    # that stops is lost to its peers.
    ExitCode.RANK_LOST: 2,
    ExitCode.STOPPED: 2,
    -signal.SIGTERM: 3,
}
_PREFIXES: dict[int, str] = {ExitCode.USER_ERROR: "error: ", ExitCode.RANK_LOST: "lost: "}


def _rank() -> int | None:
    return int(os.environ["RANK"]) if "RANK" in os.environ else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankExit:
    """The end of one rank.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        message: one line, without the prefix that `homerec` prints.
        traceback: traceback of an unexpected exception; else "".
        time: seconds since the epoch.
    """

    code: int
    message: str
    traceback: str = ""
    host: str = field(default_factory=socket.gethostname)
    rank: int | None = field(default_factory=_rank)
    time: float = field(default_factory=time.time)

    @property
    def line(self) -> str:
        """The line that `homerec` prints to stderr."""
        return f"homerec: {_PREFIXES.get(self.code, '')}{self.message}"

    @property
    def order(self) -> tuple[int, float]:
        """Sort key: causes before consequences; torchrun stops all ranks after a failure."""
        return _ORDER.get(self.code, 1), self.time


def describe_code(code: int) -> str:
    """Return 'ended with exit code 1' or 'was killed by SIGKILL'."""
    if code >= 0:
        return f"ended with exit code {code}"
    known = -code in set(signal.Signals)
    return f"was killed by {signal.Signals(-code).name if known else f'signal {-code}'}"


def exit_of(error: Exception) -> RankExit:
    """Return how a process ends after `error`."""
    if isinstance(error, UserError):
        return RankExit(code=ExitCode.USER_ERROR, message=str(error))
    if isinstance(error, RankLost):
        return RankExit(code=ExitCode.RANK_LOST, message=str(error))
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""  # a write knows no name
        return RankExit(code=ExitCode.USER_ERROR, message=f"{where}{error.strerror}; fix that")
    return RankExit(
        code=ExitCode.FAILED,
        message=traceback.format_exception_only(error)[-1].strip().partition("\n")[0],
        traceback="".join(traceback.format_exception(error)),
    )


def write_exit(end: RankExit) -> None:
    """Write the file named by the environment, if any.

    If it cannot be written, a line is added to stderr; the exit code does not change.
    """
    if not os.environ.get(_VARIABLE):
        return
    path = Path(os.environ[_VARIABLE])
    extra: dict[str, Any] = {"timestamp": str(int(end.time)), _KEY: asdict(end)}
    if end.traceback:
        extra["py_callstack"] = end.traceback
    message = {"message": end.line, "errorCode": int(end.code), "extraInfo": extra}
    try:
        write_text(path, json.dumps({"message": message}) + "\n")
    except OSError as error:
        sys.stderr.write(f"homerec: {path}: cannot be written: {error.strerror}\n")


def read_exit(path: Path) -> RankExit | None:
    """Read a file of `write_exit`; None if there is none, or another program wrote it."""
    if not path.is_file():
        return None
    message = json.loads(path.read_text(encoding="utf-8"))["message"]
    extra = message["extraInfo"] if isinstance(message, dict) else {}
    return RankExit(**extra[_KEY]) if _KEY in extra else None
