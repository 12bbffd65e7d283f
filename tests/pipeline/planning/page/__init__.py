"""Tests of pipeline/planning/page, mostly in a real browser."""
