"""Tests of embeddings/planner/advice/."""
