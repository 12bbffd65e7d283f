"""Seconds from an event to the first answer that has learnt from it."""
