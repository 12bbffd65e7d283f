"""The memory-bound steps of an expert layer, for eager execution."""
