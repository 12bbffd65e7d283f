"""Bands that a window of endless data must stay in for the model to be published."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.section import Section


class WindowGuardConfig(Section):
    """Each window is scored before it is trained. One that leaves a band stops publication until
    'homerec publish --resume'. Bands follow from the windows before, of which those that left a
    band are not counted."""

    windows: int = Field(default=50, ge=2, le=10_000)
    """Number of windows that bands follow from, the latest ones."""
    warmup: int = Field(default=5, ge=2)
    """Number of windows before the first check."""
    ne_rise: float = Field(default=0.1, gt=0)
    """Largest rise of a task's normalized entropy over its mean, as a share of it; at least 4
    standard deviations over the windows are allowed."""
    calibration: float = Field(default=1.5, gt=1)
    """Largest factor between a task's calibration and its mean, up or down; at least 4 standard
    errors of the window's positives are allowed."""
    unknown_rise: float = Field(default=0.1, gt=0, le=1)
    """Largest rise of a feature's share of unknown ids over its mean; at least 4 standard
    deviations over the windows are allowed."""
    policy: Literal["stop_publication", "stop_training"] = "stop_publication"
    """What a window that leaves a band does: stop_publication: training goes on; stop_training: the
    window is not trained, and the run ends with exit code 1."""
