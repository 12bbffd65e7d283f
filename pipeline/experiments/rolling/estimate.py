"""Estimates how long the rest of a rolling study takes, from the towers' floating-point operations.

Fitted to the CPU seconds of four towers on KuaiRand-Pure, within 5 s, on one core of an Intel Xeon
(AVX-512) beside other work; other cores differ by their speed.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.experiments.rolling.design import RollingDesign

_RUN_S = 8.0
_ROW_S = 25e-6
_FLOPS_PER_S = 38e9


def core_seconds(design: RollingDesign, runs: Iterable[tuple[str, str]]) -> float:
    """Return the estimate for runs and trials, each given as its tower and origin."""
    return sum(_seconds(design, tower, origin) for tower, origin in runs)


def _seconds(design: RollingDesign, tower: str, origin: str) -> float:
    base, flops = design.bases[tower, origin], design.head["towers"][tower]["flops"]
    rows = design.steps[origin] * base.train.batch_size
    return _RUN_S + rows * (_ROW_S + flops / _FLOPS_PER_S)
