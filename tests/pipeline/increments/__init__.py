"""Tests of pipeline/increments/."""
