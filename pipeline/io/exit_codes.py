"""Exit codes of the homerec command, of ranks and of their agent."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    """A bug or a hardware fault; a traceback was printed."""
    USER_ERROR = 2
    """Bad input, reported in one line. A retry fails in the same way."""
    RANK_LOST = 75
    """Another rank or machine failed. A retry may succeed (EX_TEMPFAIL of <sysexits.h>)."""
    STOPPED = 143
    """Stopped by a signal, whichever; a run has saved first (128 + SIGTERM)."""
