"""Tests of launchers/slurm/."""
