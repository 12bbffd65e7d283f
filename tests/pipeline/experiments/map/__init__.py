"""Tests of pipeline/experiments/map/."""
