"""Tests of pipeline/plan_page, mostly in a real browser."""
