"""Tests of pipeline/io/."""
