"""One ranking request: read, scored, written."""
