"""Tests of pipeline/scoring/."""
