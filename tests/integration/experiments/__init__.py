"""Experiments of real runs."""
