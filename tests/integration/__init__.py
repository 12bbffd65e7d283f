"""Runs from end to end."""
