"""Tests of pipeline/faults/."""
