"""Tests of launchers/cli/check."""
