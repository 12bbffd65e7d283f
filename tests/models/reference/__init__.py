"""Naive forms of the towers: one small module per expert, gate and mask."""
