"""Metrics of multi-task binary ranking."""
