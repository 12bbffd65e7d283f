"""Publishes a model as a full folder and increments on it."""
