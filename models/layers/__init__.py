"""Layers that towers are made of."""
