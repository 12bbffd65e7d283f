"""Tests of models/balancing/."""
