"""Tests of pipeline/data/sources/text/."""
