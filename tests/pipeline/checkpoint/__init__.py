"""Tests of pipeline/checkpoint/."""
