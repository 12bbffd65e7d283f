"""Tests of launchers/cli/model/."""
