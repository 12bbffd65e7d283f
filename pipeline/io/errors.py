"""Exceptions that end a run with one line: the user's input is at fault, or a machine is."""


class UserError(ValueError):
    """Bad input. The message is one line: what, where, the value, the remedy.

    The `homerec` command prints it without a traceback and ends with exit code 2.
    Every other exception is a defect of ours (or of the machine) and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        # A quoted value may hold line breaks.
        super().__init__(" ".join(message.splitlines()))


class RankLost(RuntimeError):
    """Another rank, its machine or the way there failed. The message is one line: which, when.

    The `homerec` command prints it without a traceback and ends with exit code ExitCode.RANK_LOST.
    """


def nearest(name: str, known: list[str]) -> str:
    """'; did you mean X?' for a misspelt name, else '; known: a, b, c'."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(known)
