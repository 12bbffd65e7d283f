"""Tests of pipeline/data/sources/."""
