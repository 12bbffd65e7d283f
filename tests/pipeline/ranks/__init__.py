"""Tests of pipeline/ranks/."""
