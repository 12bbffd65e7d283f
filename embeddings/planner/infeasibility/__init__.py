"""Explains why no plan fits, and finds relaxations that do."""
