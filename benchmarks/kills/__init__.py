"""Kills a job over and over, each time in another way, and asks whether anything was lost."""
