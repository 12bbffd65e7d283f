"""Tests of embeddings/planner/plans/."""
