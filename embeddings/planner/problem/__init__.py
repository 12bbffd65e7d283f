"""Converts a request to a search problem: every option of every table with its cost."""
