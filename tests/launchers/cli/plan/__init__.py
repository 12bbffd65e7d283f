"""Tests of launchers/cli/plan/."""
