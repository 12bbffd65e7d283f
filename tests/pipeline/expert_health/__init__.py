"""Tests of pipeline/expert_health/."""
