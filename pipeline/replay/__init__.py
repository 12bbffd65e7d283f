"""Writes a log as if it came live."""
