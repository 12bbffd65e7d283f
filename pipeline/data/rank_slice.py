"""Which of a step's rows a rank takes, when other ranks than those the rows were dealt to go on."""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """Rows `start` to `stop` of a step, of those that were dealt to rank `dealt_to`."""

    dealt_to: int
    start: int
    stop: int


def shares(rank: int, ranks: int, dealt_to: int, rows: int) -> list[Share]:
    """What rank `rank` of `ranks` takes of steps that were dealt to `dealt_to` ranks, `rows` each.

    All the step's rows, the first rank's first, are cut into equal parts for the ranks there are.
    With the ranks it was dealt to that is to each its own. Raises ValueError where the rows do not
    divide.
    """
    total = dealt_to * rows
    if total % ranks:
        raise ValueError(f"{total} rows of a step do not divide by {ranks} ranks")
    first, end = rank * total // ranks, (rank + 1) * total // ranks
    return [
        Share(old, max(first - old * rows, 0), min(end - old * rows, rows))
        for old in range(first // rows, -(-end // rows))
    ]
