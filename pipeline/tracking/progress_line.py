"""Formats and parses a line of progress, which runs print and launchers read.

    train  30%|######              | 120/400 steps  14.2k samples/s  loss 0.5120  eta 0:20

Does not import torch: launchers redraw these lines in place.
"""

from __future__ import annotations

import re

_WIDTH = 20

PROGRESS_LINE = re.compile(
    r"(?P<what>\w+) +(?P<percent>\d+)%\|(?P<bar>#* *)\| (?P<step>\d+)/(?P<total>\d+) steps"
    r"  (?P<samples_per_s>\S+) samples/s  loss (?P<loss>\S+)  eta (?P<eta>[\d:]+)"
)


def progress_line(
    what: str, step: int, total: int, *, samples_per_s: float, loss: float, eta_s: float
) -> str:
    """Return the line after `step` of `total` steps. `eta_s`: seconds left."""
    filled = _WIDTH * step // total
    bar = "#" * filled + " " * (_WIDTH - filled)
    return (
        f"{what} {100 * step // total:>3}%|{bar}| {step}/{total} steps"
        f"  {speed_text(samples_per_s)} samples/s  loss {loss:.4f}  eta {duration_text(eta_s)}"
    )


def speed_text(per_second: float) -> str:
    """Format with three digits: 950, 14.2k, 1.25M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if per_second >= size:
            return f"{per_second / size:.3g}{unit}"
    return f"{per_second:.3g}"


def duration_text(seconds: float) -> str:
    """Format as m:ss, or h:mm:ss from one hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
