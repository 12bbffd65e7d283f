"""Tests of launchers/local/."""
