"""Tests of embeddings/planner/inputs/."""
