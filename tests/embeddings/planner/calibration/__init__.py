"""Tests of embeddings/planner/calibration/."""
