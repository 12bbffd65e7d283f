"""Analyzes plans: alternatives for a table, and sweeps over inputs."""
