"""Trains on a log that grows: each window is scored, then trained."""
