"""Formats numbers."""

from __future__ import annotations


def number(value: float, digits: int = 4) -> str:
    if abs(value) >= 1e4:
        return f"{round(value):,}"
    return f"{float(f'{value:.{digits}g}'):.15g}"


def milliseconds(value: float) -> str:
    return f"{number(value)} ms"


def percent(share: float) -> str:
    return f"{number(100 * share, 3)}%"


def change(before: float, after: float) -> str:
    """Return the signed change relative to `before`; empty if there is none."""
    if not before or f"{before:.6g}" == f"{after:.6g}":
        return ""
    return f"{'+' if after > before else ''}{percent(after / before - 1)}"


def memory(size: float) -> str:
    """Format bytes with a binary unit (GiB = 2^30 bytes)."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{number(size, 3)} {units[0]}"


def traffic(size: float) -> str:
    """Format bytes with a decimal unit (GB = 10^9 bytes), as for bandwidths."""
    return f"{number(size / 1e9)} GB" if size >= 1e9 else f"{number(size / 1e6)} MB"


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
