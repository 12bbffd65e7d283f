"""Tests of embeddings/planner."""
