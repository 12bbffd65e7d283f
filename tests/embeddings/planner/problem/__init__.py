"""Tests of embeddings/planner/problem/."""
