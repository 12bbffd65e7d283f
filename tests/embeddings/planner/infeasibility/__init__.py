"""Tests of embeddings/planner/infeasibility/."""
