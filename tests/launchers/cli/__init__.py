"""Tests of launchers/cli/."""
