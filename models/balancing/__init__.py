"""Combines the losses of several tasks."""
