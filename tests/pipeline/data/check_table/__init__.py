"""Tests of pipeline/data/check_table."""
