"""Errors, exit codes, files, storage."""
