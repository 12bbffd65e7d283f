"""Measures the recipe auto on public tables, against tuned LightGBM."""
