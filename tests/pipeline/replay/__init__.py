"""Tests of pipeline/replay/."""
