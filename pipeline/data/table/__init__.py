"""A table of users as batches: its splits, its fitted features, and its rows by block."""
