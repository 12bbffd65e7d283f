"""Proposes what the columns of a table mean, from a sample of its rows."""
