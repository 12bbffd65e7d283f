"""Exceptions that end a run with one line: bad input, or a lost machine."""


class UserError(ValueError):
    """Bad input. The message is one line: what, where, the value, the remedy.

    The `homerec` command prints it without a traceback and ends with exit code 2. All other
    exceptions are bugs (or hardware faults) and keep their traceback.
    """

    def __init__(self, message: str) -> None:
        # A quoted value may hold line breaks.
        super().__init__(" ".join(message.splitlines()))


class RankLost(RuntimeError):
    """Another rank, its machine or the network failed. The message is one line: which rank, when.

    The `homerec` command prints it without a traceback and ends with exit code ExitCode.RANK_LOST.
    """


def nearest(name: str, known: list[str]) -> str:
    """Return 'did you mean X?' for a misspelled name, else 'known: a, b, c'."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(known)
