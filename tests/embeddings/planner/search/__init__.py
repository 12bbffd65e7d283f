"""Tests of embeddings/planner/search/."""
