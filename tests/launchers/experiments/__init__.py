"""Tests of launchers/experiments/."""
