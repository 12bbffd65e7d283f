"""Tests of pipeline/tracking/."""
