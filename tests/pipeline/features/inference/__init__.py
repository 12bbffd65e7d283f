"""Tests of pipeline/features/inference/."""
